"""What systems need: from the data base of libosinfo, if it is installed, or else from a table of
our own (https://gitlab.com/libosinfo/osinfo-db/-/blob/main/docs)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import did_you_mean
from bimetal.control.domain_xml.parsing import parse

__all__ = ["System", "find_system", "system_names"]

FOLDERS = (Path("/usr/local/share/osinfo/os"), Path("/usr/share/osinfo/os"))
_SHORT_ID = re.compile(r"<short-id>([^<]{1,60})</short-id>")
FILE_LIMIT = 1 << 20
MIB, GIB = 1 << 20, 1 << 30


class System(Struct, frozen=True):
    """A system: its identity, and the bytes of memory and storage that are recommended, 0 for what
    nobody says."""

    name: str
    id: str = ""
    memory: int = 0
    storage: int = 0


OWN = {
    "generic": System("generic"),
    "linux2022": System("linux2022", "http://libosinfo.org/linux/2022", 4 * GIB, 20 * GIB),
    "debian12": System("debian12", "http://debian.org/debian/12", 2 * GIB, 20 * GIB),
    "debian13": System("debian13", "http://debian.org/debian/13", 2 * GIB, 20 * GIB),
    "ubuntu20.04": System("ubuntu20.04", "http://ubuntu.com/ubuntu/20.04", 4 * GIB, 25 * GIB),
    "ubuntu22.04": System("ubuntu22.04", "http://ubuntu.com/ubuntu/22.04", 4 * GIB, 25 * GIB),
    "ubuntu24.04": System("ubuntu24.04", "http://ubuntu.com/ubuntu/24.04", 4 * GIB, 25 * GIB),
}
"""Used for names that the data base does not have."""


def find_system(name: str) -> System:
    """The system of that name. Raises `BimetalError`."""
    for path, names in _files():
        if name in names:
            return _read(path, name)
    if name in OWN:
        return OWN[name]
    raise BimetalError(
        f"Unknown OS name {name[:60]!r}",
        did_you_mean(name[:60], system_names()) or "see which there are: --osinfo list",
        ExitCode.USAGE,
    )


def system_names() -> list[str]:
    """All names."""
    return sorted({*OWN, *(name for _, names in _files() for name in names)})


def _files() -> Iterator[tuple[Path, list[str]]]:
    """The files of the data base, and the names in each."""
    for folder in FOLDERS:
        for path in sorted(folder.glob("*/*.xml")):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")[:FILE_LIMIT]
            except OSError:
                continue
            yield path, _SHORT_ID.findall(text)


def _read(path: Path, name: str) -> System:
    try:
        root = parse(path.read_bytes(), "libosinfo")
    except (OSError, BimetalError):  # damaged: what is asked for is known all the same
        return OWN.get(name, System(name))
    system = root.find("os")
    sizes = {"ram": 0, "storage": 0}
    for wanted in sizes:
        for kind in ("recommended", "minimum"):
            said = system.findtext(f"resources/{kind}/{wanted}", "").strip()
            if said.isdecimal() and not sizes[wanted]:
                sizes[wanted] = int(said[:18])
    return System(name, str(system.get("id", "")), sizes["ram"], sizes["storage"])
