"""The initial file system of a catalogue guest: busybox, our ``init``, and a few kernel modules."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import LateModule
from bimetal.catalogue.newc import Archive

if TYPE_CHECKING:
    from bimetal.catalogue import modules
else:
    modules = LateModule("bimetal.catalogue.modules")

__all__ = ["DHCP", "INIT", "BusyboxInitramfs"]

INIT, DHCP = (files(__package__).joinpath(name).read_text() for name in ("init.sh", "dhcp.sh"))
MODULES = ("lib/modules", "usr/lib/modules")
"""Where packages have a kernel's modules, up to bookworm and in later releases."""
FOLDERS = ("bin", "sbin", "proc", "sys", "dev", "tmp", "etc", "root", "mnt")


@dataclass(frozen=True)
class BusyboxInitramfs:
    """An initial file system with the modules named and all that they need.

    It is an archive that is not compressed: to unpack one costs the guest more time than to read
    it costs the host.
    """

    modules: tuple[str, ...]

    def make(self, tree: Path) -> bytes:
        """Build it from the unpacked packages in ``tree``: busybox-static and a kernel's."""
        archive = Archive()
        for folder in FOLDERS:
            archive.folder(folder, 0o1777 if folder == "tmp" else 0o755)
        # The kernel opens the console for init before anything is mounted (Linux, init/main.c).
        archive.character_device("dev/console", 5, 1)
        archive.file("bin/busybox", _busybox(tree).read_bytes(), 0o755)
        archive.link("bin/sh", "busybox")
        # Where the kernel itself looks for it, say to load the driver of a file system.
        archive.link("sbin/modprobe", "../bin/busybox")
        archive.file("init", INIT.encode(), 0o755)
        archive.file("sbin/dhcp", DHCP.encode(), 0o755)
        self._add_modules(archive, tree)
        return archive.to_bytes()

    def _add_modules(self, archive: Archive, tree: Path) -> None:
        for kernel in sorted(each for home in MODULES for each in tree.glob(f"{home}/*")):
            needed = modules.closure(kernel, self.modules)
            home = f"lib/modules/{kernel.name}"
            for module in needed:
                archive.file(f"{home}/{module.file}", module.image)
            archive.file(f"{home}/modules.dep", modules.dependency_table(needed).encode())
            archive.file(f"{home}/modules.alias", modules.alias_table(needed).encode())


def _busybox(tree: Path) -> Path:
    for pattern in ("usr/bin/busybox", "bin/busybox"):
        if (path := tree / pattern).is_file():
            return path
    raise BimetalError(
        "the package busybox-static holds no busybox",
        "report the version of the package",
        ExitCode.DATA,
    )
