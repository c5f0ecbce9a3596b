"""A host with a real KVM, inside an emulated machine: what tests of KVM run on anywhere.

QEMU emulates an AMD processor with SVM; Debian's stock kernel on it offers /dev/kvm; the files of
this host are seen there read-only at the same paths, so interpreter, packages and work tree are
the ones that are here. A command takes about six seconds more there than its own (slow) run.

    python -m tests.kvm_bed.bed COMMAND...

runs a command in the bed: its output comes out here, and so does its exit code. JSON files that
it writes to the folder BED_SCRATCH are copied to the folder BED_RESULTS.
"""

from __future__ import annotations

import lzma
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimetal.catalogue.guests import GUESTS, Guest
from bimetal.catalogue.initramfs import BusyboxInitramfs
from bimetal.catalogue.newc import Archive
from bimetal.catalogue.payload import Payload, fetch
from tests.kvm_bed.emulator import Emulator, find_emulator

__all__ = ["Outcome", "fetch_outer", "run"]

INIT = Path(__file__).with_name("init.sh").read_text()
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "kvm_amd")
SCRATCH = "/run/bed"
"""Where the bed sees the folder that a command may write to."""

APPEND = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"
MEMORY = "2048"
LIMIT = 900
"""Seconds after which a command is given up."""
TIMED_OUT = 124


@dataclass(frozen=True)
class BedInitramfs(BusyboxInitramfs):
    """The outer machine's first file system: busybox, modules, and the script ``init``."""

    init: str = INIT

    def make(self, tree: Path) -> bytes:
        """Build it from the unpacked packages in ``tree``."""
        archive = Archive()
        for folder in ("bin", "sbin", "proc", "sys", "dev", "mnt"):
            archive.folder(folder)
        archive.character_device("dev/console", 5, 1)
        archive.file("bin/busybox", next(tree.glob("**/bin/busybox")).read_bytes(), 0o755)
        archive.link("sbin/modprobe", "../bin/busybox")
        archive.file("init", self.init.encode(), 0o755)
        modules = tree / "usr" / "lib" / "modules"
        if not modules.exists():  # Debian 12 still has them in /lib
            modules.parent.mkdir(parents=True, exist_ok=True)
            modules.symlink_to(tree / "lib" / "modules")
        self._add_modules(archive, tree)
        return archive.to_bytes()


@dataclass(frozen=True)
class UnpackedKernel(BusyboxInitramfs):
    """The ELF file inside a bzImage: to unpack it here is faster than in an emulated processor."""

    modules: tuple[str, ...] = ()

    def make(self, tree: Path) -> bytes:
        """Unpack the kernel among the packages in ``tree``."""
        image = next(tree.glob("boot/vmlinuz-*")).read_bytes()
        setup_sectors = image[0x1F1] or 4
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = (setup_sectors + 1) * 512 + offset
        # Four bytes behind the payload are its size when unpacked.
        return lzma.LZMADecompressor().decompress(image[start : start + length])


OUTER = Guest(
    name="kvm-bed",
    summary="Debian 12's kernel as a host for KVM",
    architecture="amd64",
    suite="bookworm",
    board="",
    packages=("linux-image-amd64", "busybox-static"),
    files={"kernel": UnpackedKernel(), "initrd": BedInitramfs(MODULES)},
)


@dataclass(frozen=True)
class Outcome:
    """What became of a command: its exit code and everything it printed."""

    code: int
    output: str


def fetch_outer() -> Payload:
    """Kernel and first file system of the outer machine, made once and kept in the cache."""
    GUESTS[OUTER.name] = OUTER
    return fetch(OUTER.name)


def run(command: Sequence[str], scratch: Path, limit: float = LIMIT) -> Outcome:
    """Run ``command`` in the bed, in this folder, with this environment.

    What it writes to the folder that BED_SCRATCH names is in ``scratch`` afterwards.
    """
    emulator = find_emulator()
    if emulator is None:
        return Outcome(1, "bed: qemu-system-x86_64 is not installed\n")
    outer = fetch_outer()
    (scratch / "command").write_text(_script(command, emulator))
    (scratch / "output").touch()
    try:
        done = subprocess.run(
            _qemu(emulator, outer, scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(TIMED_OUT, f"{_output(scratch)}\nbed: given up after {limit} s\n")
    status = scratch / "status"
    if not status.exists():
        console = done.stdout.decode(errors="replace")
        return Outcome(1, f"{_output(scratch)}\nbed: no exit code; the console said:\n{console}")
    return Outcome(int(status.read_text()), _output(scratch))


def _output(scratch: Path) -> str:
    return (scratch / "output").read_text(errors="replace")


def _script(command: Sequence[str], emulator: Emulator) -> str:
    """The shell script that runs ``command`` in the bed."""
    kept = {name: value for name, value in os.environ.items() if name.isidentifier()}
    kept |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/run/tmp"}
    kept |= {"BED_SCRATCH": SCRATCH, "BED_QEMU": str(emulator.version)}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(kept.items())]
    return "\n".join([*lines, f"cd {shlex.quote(os.getcwd())}", f"exec {shlex.join(command)}", ""])


def _qemu(emulator: Emulator, outer: Payload, scratch: Path) -> list[str]:
    options = f"""
        -accel tcg,thread=multi,tb-size=512 -M pc -cpu max -m {MEMORY}
        -nodefaults -nographic -no-reboot -serial stdio
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap
    """.split()
    scratch_share = f"local,path={scratch},mount_tag=bed,security_model=none"
    kernel = ["-kernel", str(outer.kernel), "-initrd", str(outer.initrd), "-append", APPEND]
    return ["nice", "-n", "10", *emulator.command, *options, "-virtfs", scratch_share, *kernel]


def main() -> int:
    """See the module."""
    with tempfile.TemporaryDirectory(prefix="bimetal-bed-") as scratch:
        outcome = run(sys.argv[1:], Path(scratch))
        if results := os.environ.get("BED_RESULTS"):
            for path in Path(scratch).glob("*.json"):
                shutil.copy(path, results)
    sys.stdout.write(outcome.output)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
