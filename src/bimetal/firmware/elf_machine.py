"""What is known of ELF files without reading them: how they begin, and how they name machines."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ElfMachine", "is_elf"]


def is_elf(data: bytes) -> bool:
    """Whether ``data`` begins like an ELF file."""
    return data.startswith(b"\x7fELF")


class ElfMachine(Struct, frozen=True):
    """A machine as ELF files name it: ``e_machine`` and class of programs that it starts, its name,
    the alignment of instructions, and the relocation that adds the load address
    (``R_*_RELATIVE``); ``built`` are options by which compilers make programs for it."""

    kinds: tuple[tuple[str, int], ...]
    name: str
    alignment: int
    relative: int
    built: str = ""
