"""Code in files: stretches of it, with the names of places in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.constants import P_FLAGS, SH_FLAGS
from elftools.elf.descriptions import describe_e_machine
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from msgspec import Struct, field

from bimetal import BimetalError, ExitCode
from bimetal.cli.archive import is_archive, members

__all__ = ["DEFAULT_ARCH", "Stretch", "read_code"]

ARCHITECTURES = {
    ("EM_RISCV", 64): "riscv64", ("EM_AARCH64", 64): "aarch64", ("EM_X86_64", 64): "x86_64",
}  # fmt: skip
"""What the header of an ELF file says, and the instruction set's name here."""

BY_BYTES = {"x86_64"}
"""Those whose instructions are no numbers: listings show bytes as they are in memory."""

IMAGES = {b"RSC\x05": "riscv64", b"ARM\x64": "aarch64"}
"""What Linux's Images say at `MAGIC_AT` (Documentation/arch/riscv/boot-image-header.rst, and
arm64/booting.rst)."""
MAGIC_AT = 56

BZIMAGE_MAGIC, BZIMAGE_MAGIC_AT = b"HdrS", 0x202
"""What x86's kernels say (Documentation/arch/x86/boot.rst)."""

DEFAULT_ARCH = "riscv64"


class Stretch(Struct, frozen=True):
    """Code that belongs together: what to call it, its instruction set, the address of its first
    byte, its bytes, and the names of addresses."""

    name: str
    arch: str
    address: int
    code: bytes
    labels: dict[int, list[str]] = field(default_factory=dict)


def read_code(path: Path, arch: str, start: int) -> Iterator[Stretch]:
    """The code in the file at ``path``: the sections of an ELF file, those of each member of an
    archive, or the whole of a raw file, such as an Image of Linux, which lies at ``start`` then.

    ``arch`` goes before what files say. Raises `BimetalError`, also for a kernel in which the code
    cannot be seen.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BimetalError(
            f"{path} cannot be read: {error.strerror}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error
    if is_archive(data):
        yield from _archive(data, str(path), arch)
    elif _is_elf(data):
        yield from _elf(data, str(path), arch, "")
    else:
        if not arch and data[BZIMAGE_MAGIC_AT:][: len(BZIMAGE_MAGIC)] == BZIMAGE_MAGIC:
            raise BimetalError(
                f"{path} is a bzImage, an x86 kernel whose code is packed",
                "unpack it by Linux's scripts/extract-vmlinux, and give the ELF file in it; "
                "--arch x86_64 shows what unpacks it, headers and data included",
                ExitCode.DATA,
            )
        said = IMAGES.get(data[MAGIC_AT : MAGIC_AT + 4], DEFAULT_ARCH)
        yield Stretch("", arch or said, start, data)


def _is_elf(data: bytes) -> bool:
    return data.startswith(b"\x7fELF")


def _archive(data: bytes, name: str, arch: str) -> Iterator[Stretch]:
    found = 0
    for member, content in members(data, name):
        if _is_elf(content):
            found += 1
            yield from _elf(content, f"{name}({member})", arch, f"{member}, ")
    if not found:
        raise BimetalError(
            f"{name} is an archive without object files", "unpack it with 'ar x'", ExitCode.DATA
        )


def _elf(data: bytes, name: str, arch: str, title: str) -> Iterator[Stretch]:
    try:
        elf = ELFFile(io.BytesIO(data))
        arch = arch or _architecture(elf, name)
        yield from list(_sections(elf, data, arch, title) or _segments(elf, data, arch, title))
    except BimetalError:
        raise
    except Exception as error:  # the library believes what it reads, and stumbles anywhere
        raise BimetalError(
            f"{name} is a damaged ELF file: {str(error) or type(error).__name__}",
            "build or get the file anew",
            ExitCode.DATA,
        ) from error


def _architecture(elf: ELFFile, name: str) -> str:
    machine, bits = elf.header["e_machine"], elf.elfclass
    if arch := ARCHITECTURES.get((machine, bits)):
        return arch
    known = sorted(set(ARCHITECTURES.values()))
    raise BimetalError(
        f"{name} is code for {describe_e_machine(machine)} of {bits} bits, "
        f"and what can be read is {', '.join(known)}",
        "use 'objdump -d' of that machine's tools, or say with --arch as what to read it",
        ExitCode.UNAVAILABLE,
    )


def _sections(elf: Any, data: bytes, arch: str, title: str) -> list[Stretch]:
    labels = _labels(elf)
    return [
        Stretch(
            f"{title}section {section.name}",
            arch,
            section["sh_addr"],
            _bytes(data, section["sh_offset"], section["sh_size"]),
            labels.get(number, {}),
        )
        for number, section in enumerate(elf.iter_sections())
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and section["sh_type"] == "SHT_PROGBITS"
    ]


def _segments(elf: Any, data: bytes, arch: str, title: str) -> list[Stretch]:
    """The executable parts of a file that has no section headers."""
    return [
        Stretch(
            f"{title}segment {number}",
            arch,
            segment["p_vaddr"],
            _bytes(data, segment["p_offset"], segment["p_filesz"]),
        )
        for number, segment in enumerate(elf.iter_segments())
        if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & P_FLAGS.PF_X
    ]


def _bytes(data: bytes, start: int, size: int) -> bytes:
    if start + size > len(data):
        raise ValueError(f"it has {len(data)} bytes of {start + size}")
    return data[start : start + size]


def _labels(elf: Any) -> dict[int, dict[int, list[str]]]:
    """Names of code by the number of their section and their value, which for object files counts
    from the section's start, where it lies."""
    found: dict[int, dict[int, list[str]]] = {}
    for table in elf.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for symbol in table.iter_symbols():
            where, kind = symbol["st_shndx"], symbol["st_info"]["type"]
            # Those with $ and .L are the tools' own.
            if (
                isinstance(where, int)
                and kind in ("STT_FUNC", "STT_NOTYPE")
                and symbol.name
                and not symbol.name.startswith(("$", ".L"))
            ):
                names = found.setdefault(where, {}).setdefault(symbol["st_value"], [])
                if symbol.name not in names:
                    names.append(symbol.name)
    return found
