"""A libvirtd of a test's own: its folders are in the place of the host's for it alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from tests.host import lacking, program_path

__all__ = ["Libvirt"]

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


class Libvirt:
    """libvirt, whose files lie in ``folder`` and which finds emulators in ``programs``; on a host
    that is called ``host``, to itself."""

    def __init__(self, folder: Path, programs: Path, host: str = "one"):
        if os.geteuid():
            lacking("libvirtd needs root")
        self.folder, self.programs = folder, programs
        for name in PLACES:
            (folder / name).mkdir(parents=True)
        (folder / "etc" / "qemu.conf").write_text(QEMU_CONF)
        conf = LIBVIRTD_CONF.format(folder=folder, uuid=uuid5(NAMESPACE_DNS, host))
        (folder / "etc" / "libvirtd.conf").write_text(conf)
        binds = " && ".join(
            f"mkdir -p {there} && mount --bind {folder / name} {there}"
            for name, there in PLACES.items()
        )
        start = f"cd / && exec libvirtd -p {folder}/pid"
        with (folder / "stderr").open("w") as messages:
            self._daemon = subprocess.Popen(
                ["unshare", "-m", "-u", "sh", "-c", f"hostname {host} && {binds} && {start}"],
                env={"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)},
                stdout=subprocess.DEVNULL,
                stderr=messages,
                start_new_session=True,
            )
        self._wait()

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
        return subprocess.run(
            [program_path("virsh"), "-c", self.uri, *words],
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
