"""Beds for KVM on Arm and RISC-V: Debian's kernel and Python of that kind, emulated by QEMU.

Unlike in the bed for x86, nothing of this host can run there, so a root is made of packages, with
pytest beside it, which is plain Python.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from bimetal.base.folders import cache_folder
from bimetal.catalogue.apt import Apt, find_keyring, find_mirror
from bimetal.catalogue.deb import unpack
from bimetal.catalogue.folder import locked
from bimetal.catalogue.payload import VERSIONED_KERNEL
from bimetal.catalogue.progress import Silent
from tests.kvm_bed.bed import BedInitramfs, Outcome

__all__ = ["BEDS", "ForeignBed"]

ROOT = Path(__file__).resolve().parents[2]
INIT = Path(__file__).with_name("foreign-init.sh").read_text()
LIBRARIES = (
    "libc6 zlib1g libexpat1 libffi8 libgcc-s1 libcrypt1 libbz2-1.0 liblzma5 libuuid1 busybox-static"
).split()
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
COMMAND = """\
cd /tmp/tree
export PYTHONPATH=/tmp/tree/src:/tmp/tree:/opt/pytest PYTHONDONTWRITEBYTECODE=1
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 HOME=/tmp PATH=/usr/bin:/bin
exec /usr/bin/{python} -m pytest -p no:cacheprovider -q -rs -k kvm tests/accel/seam
"""


@dataclass(frozen=True)
class ForeignBed:
    """One kind of host: its packages, and how QEMU emulates it."""

    architecture: str
    suite: str
    python: str
    packages: tuple[str, ...]
    emulator: tuple[str, ...]
    console: str

    def run(self, scratch: Path, limit: float) -> Outcome:
        """Run the seam suite there."""
        home = self._home()
        (scratch / "command").write_text(COMMAND.format(python=self.python))
        (scratch / "output").touch()
        share = "security_model=none"
        shares = (
            f"local,path={home / 'tree'},mount_tag=root,{share},readonly=on,multidevs=remap",
            f"local,path={ROOT},mount_tag=tree,{share},readonly=on,multidevs=remap",
            f"local,path={scratch},mount_tag=bed,{share}",
        )
        kernel = next((home / "tree" / "boot").glob("vmlinu*"))
        done = subprocess.run(
            [
                *("nice", "-n", "10", *self.emulator, "-accel", "tcg,tb-size=512", "-m", "2048"),
                *("-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"),
                *(word for each in shares for word in ("-virtfs", each)),
                *("-kernel", str(kernel), "-initrd", str(home / "initrd")),
                *("-append", f"console={self.console} quiet panic=-1 mitigations=off"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            check=False,
        )
        output, status = (scratch / "output").read_text(), scratch / "status"
        if not status.exists():
            console = (done.stdout + done.stderr).decode(errors="replace")
            return Outcome(
                1, f"{output}\nbed: no exit code, QEMU's is {done.returncode}\n{console}"
            )
        return Outcome(int(status.read_text()), output)

    def _home(self) -> Path:
        """The folder with root and initial file system, made at the first call."""
        home = cache_folder() / f"kvm-bed-{self.architecture}"
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "lock", lambda: None):
            if not (home / "initrd").exists():
                self._make(home)
        return home

    def _make(self, home: Path) -> None:
        apt = Apt(home / "apt", find_mirror(), find_keyring(), self.suite, self.architecture)
        apt.update(Silent())
        shutil.rmtree(home / "tree", ignore_errors=True)
        tree = home / "tree"
        for name in ("bin", "sbin", "lib"):
            (tree / "usr" / name).mkdir(parents=True)
            (tree / name).symlink_to(f"usr/{name}")
        packages = apt.packages([*self.packages, *LIBRARIES], VERSIONED_KERNEL)
        for file in apt.download(packages, Silent()):
            unpack(file, tree)
        for name in ("tmp", "proc", "sys", "dev"):
            (tree / name).mkdir(exist_ok=True)
        _copy_pytest(tree / "opt" / "pytest")
        modules = ("virtio_pci", "9pnet_virtio", "9p", "kvm")
        (home / "initrd").write_bytes(BedInitramfs(modules, init=INIT).make(tree))


def _copy_pytest(folder: Path) -> None:
    """Put the pytest of this interpreter where another one finds it."""
    for name in PYTEST:
        for file in distribution(name).files or ():
            if file.suffix in (".py", "") or ".dist-info" in str(file):
                source = Path(str(file.locate()))
                target = folder / file
                if source.is_file() and not re.match(r"\.\.", str(file)):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)


BEDS = (
    ForeignBed(
        "arm64",
        "bookworm",
        "python3.11",
        ("linux-image-arm64", "python3.11-minimal", "libpython3.11-minimal")
        + ("libpython3.11-stdlib", "libssl3"),
        ("qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3")
        + ("-cpu", "max,pauth-impdef=on"),
        "ttyAMA0",
    ),
    ForeignBed(
        "riscv64",
        "trixie",
        "python3.13",
        ("linux-image-riscv64", "python3.13-minimal", "libpython3.13-minimal")
        + ("libpython3.13-stdlib", "libssl3t64"),
        ("qemu-system-riscv64", "-M", "virt", "-cpu", "rv64,h=true"),
        "ttyS0",
    ),
)
