"""What a machine is made of, as plain values: a snapshot tells it, so that nobody else has to."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from msgspec import Struct, field
from msgspec.structs import FieldInfo, fields

from bimetal.backends.block.nbd.address import is_address
from bimetal.backends.handing import status_of
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.config import NO_BIOS, Config
from bimetal.machine.nics import USER_NETWORK, Nic
from bimetal.machine.sockets import Plugged

__all__ = ["Recipe", "check_files", "reach_of", "stamps_of"]

PATHS = ("kernel", "initrd", "bios", "dtb", "dtb_overlays", "flash", "path", "backing_folders")
"""Options that are paths, which must not depend on the folder that a process works in."""

INWARD = (
    "memory", "cpus", "kernel", "kernel_format", "initrd", "append", "bios", "flash", "dtb",
    "dtb_overlays", "reboot", "semihosting", "options", "disks", "balloon",
    "cdroms", "video", "inputs", "usb", "hubs", "root_ports", "places", "arriving",
)  # fmt: skip
"""Options by which a guest reaches nothing of the host but files that are read when it starts, and
disks, which a snapshot knows exactly."""


class Recipe(Struct):
    """A machine's ``board``, ``config``, processor ``model``, and whether it has a second console.
    ``accel`` is the accelerator that it ran on, for people; ``plugged`` is in its slots."""

    board: str
    config: Config
    model: str
    hvc: bool
    accel: str
    plugged: list[Plugged] = field(default_factory=list)

    @property
    def nics(self) -> list[Nic]:
        """All NICs, also those that were plugged in."""
        return [*self.config.nics, *(each.nic for each in self.plugged if each.nic is not None)]

    def plain(self) -> dict[str, Any]:
        """The recipe as plain values, with all paths from the root on. Raises `BimetalError` if it
        has parts that only this program can make."""
        if any(nic.backend is not None for nic in self.nics):
            raise BimetalError(
                "the machine has a network of this program's own, which a snapshot cannot name",
                "give the NIC a network by its name",
                ExitCode.USAGE,
            )
        values: dict[str, Any] = _plain(self)
        for name in ("config", "plugged"):
            values[name] = _from_the_root(values[name])
        return values

    def reaches_out(self, files: Container[str]) -> list[str]:
        """What of the machine reaches more of the host than the ``files`` that its snapshot
        knows."""
        config = self.config
        known = {*config.__struct_fields__} - {*INWARD, "nics"}
        discs = [drive.path for drive in config.cdroms]
        paths = [*(disk.path for disk in config.disks), *discs, *config.flash]
        reaching = {name for name in known if getattr(config, name)}
        reaching |= _networks(config.nics) | _strange(paths, files)
        return sorted(reaching.union(reach_of(self.plugged, files)))

    @classmethod
    def of(cls, values: object) -> Recipe:
        """The inverse of `plain`. Raises ValueError for what is no recipe, or one of a version that
        knows more, and `BimetalError` for impossible values."""
        recipe = _built(cls, values)
        assert isinstance(recipe, cls)
        return recipe


def reach_of(plugged: Iterable[Plugged], files: Container[str]) -> list[str]:
    """What of devices that were plugged in reaches more of the host than ``files``."""
    given = [*plugged]
    media = [each for one in given for each in (one.disk, one.cdrom) if each is not None]
    networks = _networks(each.nic for each in given if each.nic is not None)
    return sorted(networks | _strange([each.path for each in media], files))


def _networks(nics: Iterable[Nic]) -> set[str]:
    return {nic.kind for nic in nics if nic != Nic(USER_NETWORK, mac=nic.mac)}


def _strange(paths: Iterable[str | None], files: Container[str]) -> set[str]:
    return {path for path in paths if path is not None and path not in files}


def stamps_of(paths: Iterable[str]) -> dict[str, list[int]]:
    """What tells by each path whether the file there was changed: size, time of the last change in
    ns, and number. Raises OSError."""
    return {os.path.abspath(path): _stamp(path) for path in paths}


def check_files(stamps: object) -> None:
    """Raise `BimetalError` if a file is not what it was at `stamps_of`; ValueError for what that
    never returned."""
    if not isinstance(stamps, Mapping):
        raise ValueError("no list of files")
    for path, stamp in stamps.items():
        try:
            now = _stamp(str(path))
        except (OSError, ValueError) as error:
            raise BimetalError(
                f"the snapshot needs {path}, which cannot be read: "
                f"{getattr(error, 'strerror', error)}",
                "bring it back as it was when the machine was saved",
                ExitCode.NO_INPUT,
            ) from error
        if now != stamp:
            raise BimetalError(
                f"{path} has changed since the machine was saved: its memory and its disks would "
                "contradict each other",
                "bring the file back as it was then, or start the machine anew",
                ExitCode.DATA,
            )


def _stamp(path: str) -> list[int]:
    found = status_of(path)
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _from_the_root(values: Any, name: str = "") -> Any:
    """Options as plain values, with the paths among them made absolute."""
    if isinstance(values, dict):
        return {key: _from_the_root(each, key) for key, each in values.items()}
    if isinstance(values, list):
        return [_from_the_root(each, name) for each in values]
    known = name in PATHS and isinstance(values, str) and values != NO_BIOS
    return values if not known or is_address(values) else os.path.abspath(values)


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _built(kind: Any, value: Any) -> Any:
    """An object of type ``kind`` that `_plain` made ``value`` of. Raises ValueError."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        (kind,) = (each for each in inner if each is not NoneType)
        return _built(kind, value)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _record(kind, value)
    if origin in (list, tuple) and isinstance(value, list):
        return origin(_built(inner[0], each) for each in value)
    if origin is dict and isinstance(value, dict):
        return {_built(inner[0], key): _built(inner[1], each) for key, each in value.items()}
    if not isinstance(kind, type) or type(value) is not kind:
        raise ValueError(f"{value!r:.60} is no {kind}")
    return value


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    return {each.name: each for each in fields(kind)}


def _record(kind: type[Struct], value: Any) -> Struct:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.60} is no {kind.__name__}")
    known = _fields(kind)
    if strange := value.keys() - known.keys():
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(map(str, strange)))}")
    for name, each in known.items():
        if name not in value and each.required:
            raise ValueError(f"{kind.__name__} without {name}")
    return kind(**{name: _built(known[name].type, each) for name, each in value.items()})
