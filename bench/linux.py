"""A Linux guest for both emulators: the catalogue's Debian kernel, busybox, and a script."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimetal.catalogue import cache_folder, fetch
from bimetal.catalogue.folder import scratch_folder
from bimetal.catalogue.newc import Archive

__all__ = ["BIMETAL", "MARKER", "MEMORY", "QEMU", "Linux", "linux"]

MARKER = "BIMETAL-GUEST-UP"
MEMORY = 512 << 20
QEMU = ("qemu-system-riscv64", "-M", "virt", "-accel", "tcg", "-m", "512M", "-nographic")
BIMETAL = (sys.executable, "-m", "bimetal", "run", "--board", "riscv-virt", "--memory", "512M")


@dataclass(frozen=True)
class Linux:
    """What is booted. A disk is only read: what the guest writes to it is forgotten."""

    kernel: Path
    initrd: Path
    append: str
    disk: Path | None = None
    cpus: int = 1

    def ours(self, options: Sequence[str] = ()) -> list[str]:
        """The command that boots it here."""
        files = ["--kernel", str(self.kernel), "--initrd", str(self.initrd)]
        disk = ["--disk", f"{self.disk},snapshot"] if self.disk else []
        cpus = ["--cpus", str(self.cpus)]
        return [*BIMETAL, *options, *cpus, *files, *disk, "--append", self.append]

    def theirs(self) -> list[str]:
        """The command that boots it under QEMU."""
        files = ["-kernel", str(self.kernel), "-initrd", str(self.initrd)]
        disk = []
        if self.disk:
            drive = f"file={self.disk},format=raw,if=none,id=root,snapshot=on"
            disk = ["-drive", drive, "-device", "virtio-blk-device,drive=root"]
        return [*QEMU, "-smp", str(self.cpus), *files, *disk, "-append", self.append]


def linux(order: str, file: Path | None = None, disk: Path | None = None, cpus: int = 1) -> Linux:
    """A guest that boots, runs ``order`` by the shell and switches off.

    It finds ``file``, a script or a program, in ``/bench/``: it comes in an archive of its own
    behind the catalogue's (Linux unpacks one after the other).
    """
    payload = fetch("debian-riscv64")
    assert payload.kernel is not None
    assert payload.initrd is not None
    initrd = payload.initrd
    if file:
        archive = Archive()
        archive.file(f"bench/{file.name}", file.read_bytes(), 0o755)
        initrd = cache_folder() / "bench" / f"{file.name}.initrd"
        with scratch_folder(initrd) as scratch:
            fresh = scratch / initrd.name
            fresh.write_bytes(payload.initrd.read_bytes() + archive.to_bytes())
            fresh.replace(initrd)
    return Linux(payload.kernel, initrd, f'{payload.append} quiet bmrun="{order}"', disk, cpus)
