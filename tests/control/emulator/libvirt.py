"""A libvirtd of a test's own: its folders are in the place of the host's for it alone. It is this
host's, or that of another Debian, whose root file system is a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from bimetal import cache_folder
from bimetal.base.folders import cache_home
from bimetal.catalogue.folder import locked
from tests.host import lacking, program_path
from tools.debian_root import install

__all__ = ["Libvirt", "libvirt_of_trixie"]

PROJECT = Path(__file__).resolve().parents[3]
TRIXIE = (
    "libvirt-daemon-system,libvirt-daemon-driver-qemu,libvirt-clients,qemu-utils,qemu-efi-aarch64"
)
KERNEL_HAS = ("/proc", "/sys", "/dev")

LIMIT = 240
ANSWER = 60
PLACES = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "run": "/run/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
"""Our folders, and where libvirt looks for each."""

QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "file"
"""
LIBVIRTD_CONF = """
unix_sock_group = "root"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
log_filters = "3:qemu"
log_outputs = "3:file:{folder}/libvirtd.log"
"""


def libvirt_of_trixie() -> Path:
    """The root file system of a Debian 13 with libvirt, made once and kept in the cache."""
    path = cache_folder() / "roots" / "libvirt-trixie"
    with locked(path.with_suffix(".lock"), lambda: None):
        if not path.exists():
            if os.geteuid():
                lacking("to make a root file system one has to be root")
            scratch = path.with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                install(scratch, "amd64", "trixie", TRIXIE)
            except (OSError, subprocess.CalledProcessError) as error:
                lacking(f"Debian 13 with libvirt cannot be made: {error}")
            scratch.rename(path)
    return path


class Libvirt:
    """libvirt, whose files lie in ``folder`` and which finds emulators in ``programs``; on a host
    that is called ``host``, to itself. It is the one in the file system ``root``, where it sees
    what it needs of ours at the same paths."""

    def __init__(self, folder: Path, programs: Path, host: str = "one", root: Path = Path("/")):
        if os.geteuid():
            lacking("libvirtd needs root")
        self.folder, self.programs, self._root = folder, programs, root
        for name in PLACES:
            (folder / name).mkdir(parents=True)
        (folder / "etc" / "qemu.conf").write_text(QEMU_CONF)
        conf = LIBVIRTD_CONF.format(folder=folder, uuid=uuid5(NAMESPACE_DNS, host))
        (folder / "etc" / "libvirtd.conf").write_text(conf)
        places = [(folder / name, there) for name, there in PLACES.items()]
        if root != Path("/"):
            places += [(Path(each), each) for each in (*KERNEL_HAS, *self._ours())]
        binds = " && ".join(
            f"mkdir -p {root}{there} && mount --rbind {place} {root}{there}"
            for place, there in places
        )
        start = f"cd / && exec chroot {root} libvirtd -p {folder}/pid"
        with (folder / "stderr").open("w") as messages:
            self._daemon = subprocess.Popen(
                ["unshare", "-m", "-u", "sh", "-c", f"hostname {host} && {binds} && {start}"],
                env={"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)},
                stdout=subprocess.DEVNULL,
                stderr=messages,
                start_new_session=True,
            )
        self._wait()

    def _ours(self) -> set[str]:
        """What of this host the emulators need."""
        needed = {PROJECT, cache_home(), self.folder.parent, self.programs,
                  Path(sys.prefix), Path(sys.base_prefix)}  # fmt: skip
        return {os.fspath(each) for each in needed | {each.resolve() for each in needed}}

    @property
    def pid(self) -> int:
        """Its process, in whose mount name space its files are where clients expect them."""
        return self._daemon.pid

    @property
    def uri(self) -> str:
        """Where clients find it."""
        return f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run virsh."""
        within = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "chroot", os.fspath(self._root)]
        virsh = program_path("virsh") if self._root == Path("/") else "virsh"
        return subprocess.run(
            [*within, virsh, "-c", self.uri, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )

    def install(self, *words: str) -> str:
        """What virt-install prints, which has to succeed."""
        outcome = subprocess.run(
            [program_path("virt-install"), "--connect", self.uri, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
            env={**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")},
        )
        assert outcome.returncode == 0, f"{words}: {outcome.stdout} {outcome.stderr}"
        return outcome.stdout

    def virsh(self, *words: str) -> str:
        """What virsh prints, which has to succeed."""
        outcome = self.run(*words)
        assert outcome.returncode == 0, f"{words}: {outcome.stderr}"
        return outcome.stdout

    def until(self, wanted: str, *words: str) -> None:
        """Ask virsh again until it prints what is ``wanted``."""
        ended = time.monotonic() + LIMIT
        while (said := self.virsh(*words).strip()) != wanted:
            assert time.monotonic() < ended, f"{words}: {said}"

    def close(self) -> None:
        """End it; machines end with the test that has started them."""
        self._daemon.send_signal(signal.SIGTERM)
        self._daemon.wait(LIMIT)

    def _wait(self) -> None:
        """Return when it answers, which takes as long as it asks all emulators that there are."""
        while self._daemon.poll() is None:
            if (self.folder / "run" / "libvirt-sock").exists():
                self.virsh("version")
                return
            try:
                self._daemon.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        lacking(f"libvirtd does not start here: {(self.folder / 'stderr').read_text()[-300:]}")
