"""A Linux guest for both emulators: the catalogue's Debian kernel, busybox, and a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.targets import Target
from bimetal.catalogue import cache_folder, fetch
from bimetal.catalogue.folder import scratch_folder
from bimetal.catalogue.newc import Archive

__all__ = ["MARKER", "MEMORY", "Linux", "linux"]

MARKER = "BIMETAL-GUEST-UP"
MEMORY = 512 << 20

PASST_SOCKET = "/tmp/bimetal-bench-passt"
PASST_NETDEV = f"stream,id=net,server=off,addr.type=unix,addr.path={PASST_SOCKET}"
PASST = (
    f"rm -f {PASST_SOCKET}; passt --quiet --one-off --socket {PASST_SOCKET}"
    ' --address 10.0.2.15 --netmask 24 --gateway 10.0.2.2 && exec "$0" "$@"'
)
"""A shell's words that start passt, with the addresses of user networks, and then QEMU. It ends
when QEMU does."""


@dataclass(frozen=True)
class Linux:
    """What is booted. A disk is only read: what the guest writes to it is forgotten. ``network`` is
    what QEMU's virtio NIC is on, ``user`` or ``passt``, if there is one; ours is on ``user``."""

    target: Target
    kernel: Path
    initrd: Path
    append: str
    disk: Path | None = None
    cpus: int = 1
    network: str = ""

    def ours(self, options: Sequence[str] = ()) -> list[str]:
        """The command that boots it here."""
        files = ["--kernel", str(self.kernel), "--initrd", str(self.initrd)]
        devices = ["--disk", f"{self.disk},snapshot"] if self.disk else []
        devices += ["--net", "user" if self.network else "none"]
        cpus = ["--cpus", str(self.cpus)]
        return [*self.target.ours, *options, *cpus, *files, *devices, "--append", self.append]

    def theirs(self) -> list[str]:
        """The command that boots it under QEMU."""
        files = ["-kernel", str(self.kernel), "-initrd", str(self.initrd)]
        devices = []
        if self.disk:
            drive = f"file={self.disk},format=raw,if=none,id=root,snapshot=on"
            devices = ["-drive", drive, "-device", "virtio-blk-device,drive=root"]
        netdev = PASST_NETDEV if self.network == "passt" else "user,id=net"
        if self.network:
            devices += ["-netdev", netdev, "-device", "virtio-net-device,netdev=net"]
        else:
            devices += ["-nic", "none"]
        cpus = ["-smp", str(self.cpus)]
        command = [*self.target.theirs, *cpus, *files, *devices, "-append", self.append]
        return ["sh", "-c", PASST, *command] if self.network == "passt" else command


def linux(
    target: Target,
    order: str,
    file: Path | None = None,
    disk: Path | None = None,
    cpus: int = 1,
) -> Linux:
    """A guest that boots, runs ``order`` by the shell and switches off.

    It finds ``file``, a script or a program, in ``/bench/``: it comes in an archive of its own
    behind the catalogue's (Linux unpacks one after the other).
    """
    payload = fetch(target.guest)
    assert payload.kernel is not None
    assert payload.initrd is not None
    initrd = payload.initrd
    if file:
        archive = Archive()
        archive.file(f"bench/{file.name}", file.read_bytes(), 0o755)
        initrd = cache_folder() / "bench" / target.name / f"{file.name}.initrd"
        with scratch_folder(initrd) as scratch:
            fresh = scratch / initrd.name
            fresh.write_bytes(payload.initrd.read_bytes() + archive.to_bytes())
            fresh.replace(initrd)
    append = f'{payload.append} quiet bmrun="{order}"'
    return Linux(target, payload.kernel, initrd, append, disk, cpus)
