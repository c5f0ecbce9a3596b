"""Firmware for machines that start from disks: from the descriptions that distributions install
(QEMU's docs/interop/firmware.json)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bimetal.base.late import late
from bimetal.control.known_boards import board_named

__all__ = ["Firmware", "find_firmware", "firmware_of_catalogue"]

FOLDERS = ("/etc/qemu/firmware", "/usr/share/qemu/firmware")
FILE_LIMIT = 1 << 16


class Firmware(NamedTuple):
    """Files of firmware: its code, what its variables are a copy of at first, or "", and a boot
    loader that it starts as a kernel, or ""."""

    code: str
    template: str = ""
    loader: str = ""


def find_firmware(isa: str, machine: str) -> Firmware | None:
    """The UEFI firmware that this host has for an instruction set and a kind of machine, as QEMU
    calls it, without secure boot if there is a choice; None if it has none."""
    found = [
        (_is_secure(described), number, firmware)
        for number, described in enumerate(_descriptions())
        if "uefi" in described.get("interface-types", ()) and _fits(described, isa, machine)
        if (firmware := _files_of(described)) is not None
    ]
    return min(found)[2] if found else None


def firmware_of_catalogue(isa: str, *, fetch: bool = True) -> Firmware | None:
    """The firmware of the catalogue for an instruction set, the last one in its list; None if there
    is none, or if it would have to be fetched, and is not to be. Raises `BimetalError`."""
    guests: Any = late("bimetal.catalogue.guests:GUESTS")
    for guest in reversed(list(guests.values())):
        if "bios" not in guest.files or "initrd" in guest.files:
            continue
        if board_named(guest.board).isa != isa:
            continue
        there = late("bimetal:cached_guest")(guest)
        if there is None and fetch:
            there = late("bimetal:fetch_guest")(guest)
        if there is not None and there.bios:
            loader = os.fspath(there.kernel) if there.kernel else ""
            return Firmware(os.fspath(there.bios), loader=loader)
    return None


def _descriptions() -> Iterator[dict[str, Any]]:
    """In the order of their names, which is that of preference; one in the first folder hides one
    of that name in the second."""
    paths: dict[str, Path] = {}
    for folder in reversed(FOLDERS):
        with suppress(OSError):
            paths |= {path.name: path for path in Path(folder).iterdir()}
    for name in sorted(paths):
        with suppress(OSError, ValueError, RecursionError):
            described = json.loads(paths[name].read_bytes()[:FILE_LIMIT])
            if isinstance(described, dict):
                yield described


def _fits(described: dict[str, Any], isa: str, machine: str) -> bool:
    with suppress(TypeError, AttributeError):
        return any(
            target.get("architecture") == isa
            and any(each.split("-")[0].rstrip("*") == machine for each in target.get("machines"))
            for target in described.get("targets", ())
        )
    return False


def _is_secure(described: dict[str, Any]) -> bool:
    return "enrolled-keys" in described.get("features", ())


def _files_of(described: dict[str, Any]) -> Firmware | None:
    with suppress(KeyError, TypeError):
        mapping = described["mapping"]
        if mapping["device"] == "memory":
            return _existing(Firmware(str(mapping["filename"])))
        code = str(mapping["executable"]["filename"])
        template = mapping.get("nvram-template", {}).get("filename", "")
        return _existing(Firmware(code, str(template)))
    return None


def _existing(firmware: Firmware) -> Firmware | None:
    return firmware if all(os.path.isfile(path) for path in firmware if path) else None
