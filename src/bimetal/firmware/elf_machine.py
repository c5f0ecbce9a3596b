"""What is known of ELF files without reading them: how they begin, and how they name machines."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ElfMachine", "has_64_bits", "is_elf"]

CLASS_AT, CLASS_64 = 4, 2
"""EI_CLASS, and ELFCLASS64."""


def is_elf(data: bytes) -> bool:
    """Whether ``data`` begins like an ELF file."""
    return data.startswith(b"\x7fELF")


def has_64_bits(data: bytes) -> bool:
    """Whether an ELF file is of the class for 64 bits."""
    return data[CLASS_AT : CLASS_AT + 1] == bytes((CLASS_64,))


class ElfMachine(Struct, frozen=True):
    """A machine as ELF files name it: ``e_machine`` and class of programs that it starts, its name,
    the alignment of instructions, and the relocation that adds the load address
    (``R_*_RELATIVE``); ``built`` are options by which compilers make programs for it."""

    kinds: tuple[tuple[str, int], ...]
    name: str
    alignment: int
    relative: int
    built: str = ""
