"""Executables in ELF, loaded by their program headers at their physical addresses.

What is loaded is what QEMU loads; where QEMU loses something silently, there is an error or a
message. Source: System V Application Binary Interface, chapters 4 and 5; RISC-V ABIs Specification,
"Dynamic Linking"; ELF for the Arm 64-bit Architecture, "Relocation".
"""

from __future__ import annotations

import itertools
import struct
from bisect import bisect_right
from typing import Any

from elftools.elf.descriptions import describe_e_machine
from msgspec import Struct
from msgspec.structs import replace

from bimetal.base.bits import align_down
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.firmware.elf_file import reading_elf
from bimetal.firmware.elf_machine import ElfMachine
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.program import Program, Segment

__all__ = ["load_elf"]


EXECUTABLE, WRITABLE = 1, 2
ALLOCATED = 2
DYNAMIC = struct.Struct("<QQ")
DT_NULL, DT_NEEDED, DT_RELA, DT_RELASZ, DT_SONAME = 0, 1, 7, 8, 14
RELOCATION = struct.Struct("<QQq")
MOST_SEGMENTS = 256
PAGE = 4096


class Part(Struct, frozen=True):
    """A program header of type PT_LOAD; ``data`` is what the file has of it."""

    virtual: int
    physical: int
    data: bytes | bytearray | memoryview
    size: int
    flags: int

    @property
    def end(self) -> int:
        """The first physical address behind it."""
        return self.physical + self.size

    @property
    def needed(self) -> bool:
        """Whether it holds code, or data that change: no program can be without it."""
        return bool(self.flags & (EXECUTABLE | WRITABLE))

    def moved(self, distance: int) -> Part:
        """The same at other addresses, virtual and physical."""
        return replace(self, virtual=self.virtual + distance, physical=self.physical + distance)

    def behind(self, skipped: int) -> Part:
        """The segment without its first bytes."""
        return replace(self.moved(skipped), data=self.data[skipped:], size=self.size - skipped)


def load_elf(
    data: bytes,
    name: str,
    machine: ElfMachine,
    room: MemoryRoom,
    *,
    home: int | None = None,
    entry: int | None = None,
) -> Program:
    """The executable ``data``, for ``machine`` and for the memory of ``room``.

    A position-independent program that is linked for where there is no memory goes to ``home``.
    The entry point is the file's own unless ``entry`` is given, as a physical address even where
    the program is linked to run at virtual ones; without a usable one the program is entered at
    its lowest address.

    Raises `BimetalError` that calls it ``name``.
    """
    return _Loader(data, name, machine, room).load(home, entry)


class _Loader:
    """One file on its way into memory."""

    def __init__(self, data: bytes, name: str, machine: ElfMachine, room: MemoryRoom):
        self._data, self._name = data, name
        self._machine, self._room = machine, room
        self._distance = 0
        with reading_elf(data, name) as elf:
            self._check_kind(elf)
            self._entry = int(elf.header["e_entry"])
            self._independent = elf.header["e_type"] == "ET_DYN"
            self._parts = self._read_parts(elf)
            dynamic = _dynamic(elf, data) if elf.elfclass == 64 else {}
            self._foreign = _foreign(elf, dynamic)
            self._relocations = (
                _relocations(elf, data, dynamic, machine) if self._independent else []
            )
            self._contents = _contents(elf)

    def load(self, home: int | None, entry: int | None) -> Program:
        self._use_virtual_addresses()
        if home is not None:
            self._move(home)
        if self._relocations:
            self._relocate()
        parts = [part for each in self._parts if (part := self._fitted(each)) is not None]
        if not parts:
            raise self._misplaced(self._parts[0])
        segments = tuple(
            Segment(part.physical, part.data, part.size) for part in self._untangled(parts)
        )
        if entry is None:
            entry = self._entered(parts)
        program = Program(self._name, segments, entry, self._distance)
        program.check_entry(self._machine.alignment)
        return program

    # What kind of file it is

    def _check_kind(self, elf: Any) -> None:
        header = elf.header
        if header["e_machine"] not in (machine for machine, _ in self._machine.kinds):
            found = describe_e_machine(header["e_machine"])
            raise self._refused(
                f"is a program for another processor ({found})",
                f"give one for {self._machine.name}, or choose another board",
            )
        if not elf.little_endian:
            raise self._refused("is a big-endian program", "build it for little-endian")
        if (header["e_machine"], elf.elfclass) not in self._machine.kinds:
            raise self._refused(
                "is a 32-bit program, and the machine is a 64-bit one",
                "build it for 64 bits"
                + (f", as with {self._machine.built}" if self._machine.built else ""),
            )
        kind = header["e_type"]
        if kind == "ET_REL":
            raise self._refused(
                "is an object file that is not linked yet", f"link it first: {self._room.linking}"
            )
        if kind == "ET_CORE":
            raise self._refused("is a core dump, no program", "give the program itself")
        if header["e_phnum"] == 0:
            raise self._refused(
                "is an ELF file with nothing to load: it has no program headers",
                "give the executable, not a file of symbols or sections alone",
            )

    def _read_parts(self, elf: Any) -> list[Part]:
        headers = [segment.header for segment in elf.iter_segments("PT_LOAD")]
        parts = [self._part(header) for header in headers if header["p_memsz"]]
        if not parts:
            raise self._refused(
                "is an ELF file with nothing to load: all its segments are empty",
                "give the executable, not a file of symbols alone",
            )
        if len(parts) > MOST_SEGMENTS:
            raise self._refused(f"is a damaged ELF file: it has {len(parts)} segments")
        return parts

    def _part(self, header: Any) -> Part:
        start, length, size = header["p_offset"], header["p_filesz"], header["p_memsz"]
        if length > size:
            raise self._refused(
                f"has a segment with {length:#x} bytes in the file and {size:#x} in memory"
            )
        if start + length > len(self._data):
            raise self._refused(f"is truncated: {len(self._data)} bytes of {start + length}")
        for address in (header["p_paddr"], header["p_vaddr"]):
            if address + size > 1 << 64:
                raise self._refused(f"has a segment of {size:#x} bytes at {address:#x}")
        content = memoryview(self._data)[start : start + length]
        return Part(header["p_vaddr"], header["p_paddr"], content, size, header["p_flags"])

    # Where it goes

    def _use_virtual_addresses(self) -> None:
        """Linkers that know no physical addresses leave them all zero."""
        if not any(part.physical for part in self._parts):
            self._parts = [replace(part, physical=part.virtual) for part in self._parts]

    def _move(self, home: int) -> None:
        """Move what can be moved, or was linked for address zero, where its ``.bin`` would be."""
        start = min(part.physical for part in self._parts)
        needed = [part for part in self._parts if part.needed] or self._parts
        placed = any(self._missing(part) == 0 for part in needed)
        if placed or self._foreign or not (self._independent or start == 0):
            return
        distance = self._distance = home - align_down(start, PAGE)
        self._parts = [part.moved(distance) for part in self._parts]
        self._relocations = [(at + distance, to + distance) for at, to in self._relocations]
        self._contents = [(at + distance, name) for at, name in self._contents]
        self._entry += distance

    def _relocate(self) -> None:
        """Store the addresses that depend on where the program is.

        Programs that do it themselves store the same ones again.
        """
        parts = sorted(self._parts, key=lambda part: part.virtual)
        starts = [part.virtual for part in parts]
        contents = [bytearray(part.data) for part in parts]
        for address, value in self._relocations:
            number = bisect_right(starts, address) - 1
            offset = address - starts[number]
            if not 0 <= offset <= len(contents[number]) - 8:
                raise self._refused(f"is a damaged ELF file: it has a relocation at {address:#x}")
            struct.pack_into("<Q", contents[number], offset, value & (1 << 64) - 1)
        self._parts = [
            replace(part, data=content) for part, content in zip(parts, contents, strict=True)
        ]

    def _fitted(self, part: Part) -> Part | None:
        """As much of ``part`` as there is memory for; None if that is nothing.

        What may be left away is what no program misses: the ELF header and the tables behind it,
        for which linkers use the page below the code.
        """
        missing = self._missing(part)
        if missing == 0:
            return part
        names = self._names(part.virtual, part.virtual + (missing or part.size))
        if part.needed:
            if missing in (None, part.size) or names:
                raise self._misplaced(part)
            return part.behind(missing)
        if part.physical >= self._room.start:
            raise self._misplaced(part)
        if names:
            logger("loader").warning(
                "%s: there is no memory at %#x for %s, which the program will miss",
                self._name,
                part.physical,
                ", ".join(names),
            )
        return None

    def _missing(self, part: Part) -> int | None:
        writable = bool(part.flags & WRITABLE)
        return self._room.missing_before(part.physical, part.size, writable=writable)

    def _names(self, start: int, end: int) -> list[str]:
        """The sections with contents of the program between two virtual addresses."""
        return [name for address, name in self._contents if start <= address < end]

    def _untangled(self, parts: list[Part]) -> list[Part]:
        """The parts in order of address, none over another.

        Where one part's zeroes would lie over another part, they are the program's own business:
        segments are then packed for a ROM, and code of the program moves them apart.
        """
        ordered = sorted(parts, key=lambda part: part.physical)
        alone = []
        for index, part in enumerate(ordered):
            zeroes = part.physical + len(part.data)
            others = ordered[:index] + ordered[index + 1 :]
            if any(other.physical < part.end and zeroes < other.end for other in others):
                part = replace(part, size=len(part.data))
            alone.append(part)
        for part, following in itertools.pairwise(alone):
            if part.end > following.physical:
                raise self._refused(
                    f"has two segments at {following.physical:#x}, one over the other",
                    "link it anew, so that each section has a place of its own",
                )
        return [part for part in alone if part.size]

    def _entered(self, parts: list[Part]) -> int:
        entry = self._physical(self._entry, parts)
        if entry is None:
            code = [part.physical for part in parts if part.flags & EXECUTABLE]
            entry = min(code or [part.physical for part in parts])
            logger("loader").warning(
                "%s: its entry point %#x is in no segment; it is entered where it begins, at %#x",
                self._name,
                self._entry,
                entry,
            )
        return entry

    @staticmethod
    def _physical(entry: int, parts: list[Part]) -> int | None:
        """Where the virtual address ``entry`` is loaded; or itself, if it is a physical one."""
        for part in parts:
            if 0 <= entry - part.virtual < part.size:
                return entry - part.virtual + part.physical
        inside = any(part.physical <= entry < part.end for part in parts)
        return entry if inside else None

    # What the user is told

    def _misplaced(self, part: Part) -> BimetalError:
        if self._foreign:
            return self._refused(
                f"is a program for an operating system: {self._foreign}",
                f"link one for the bare machine, with -nostdlib -static {self._room.linking}",
            )
        return self._refused(*self._room.explain(part.physical, part.size))

    def _refused(self, how: str, remedy: str = "build or get the file anew") -> BimetalError:
        return BimetalError(f"{self._name} {how}", remedy, ExitCode.DATA)


def _dynamic(elf: Any, data: bytes) -> dict[int, int]:
    """What the program tells its dynamic linker, by tag; of several with one tag the last."""
    tags: dict[int, int] = {}
    for segment in elf.iter_segments("PT_DYNAMIC"):
        start, size = segment["p_offset"], segment["p_filesz"]
        table = memoryview(data)[start : start + size]
        for tag, value in DYNAMIC.iter_unpack(table[: len(table) & -DYNAMIC.size]):
            if tag == DT_NULL:
                break
            tags[tag] = value
    return tags


def _foreign(elf: Any, dynamic: dict[int, int]) -> str:
    """What makes the program one of an operating system, or nothing."""
    for segment in elf.iter_segments("PT_DYNAMIC"):
        if DT_NEEDED in dynamic:
            return f"it asks for {next(segment.iter_tags('DT_NEEDED')).needed}"
        if DT_SONAME in dynamic:
            return "it is a shared library"
    for segment in elf.iter_segments("PT_NOTE"):
        for note in segment.iter_notes():
            if note["n_name"] == "GNU" and note["n_type"] == "NT_GNU_ABI_TAG":
                return "it was linked with a C library"
    return ""


def _relocations(
    elf: Any, data: bytes, dynamic: dict[int, int], machine: ElfMachine
) -> list[tuple[int, int]]:
    """Virtual addresses, and the virtual address that belongs there: as for load address 0."""
    start = next(elf.address_offsets(dynamic[DT_RELA]), None) if DT_RELA in dynamic else None
    if start is None:
        return []
    table = memoryview(data)[start : start + dynamic.get(DT_RELASZ, 0)]
    return [
        (address, value)
        for address, kind, value in RELOCATION.iter_unpack(
            table[: len(table) - len(table) % RELOCATION.size]
        )
        if kind == machine.relative
    ]


def _contents(elf: Any) -> list[tuple[int, str]]:
    """Virtual address and name of each section that holds something of the program itself, not
    for its linker; none if the file has no table of sections."""
    return [
        (int(section["sh_addr"]), str(section.name))
        for section in elf.iter_sections()
        if section["sh_flags"] & ALLOCATED
        and section["sh_type"] in ("SHT_PROGBITS", "SHT_NOBITS", "SHT_INIT_ARRAY")
        and section["sh_size"]
        and section.name != ".interp"
    ]
