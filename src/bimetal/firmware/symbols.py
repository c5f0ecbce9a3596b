"""Symbols of a guest's code: from an ELF file, or from a list like System.map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.sections import SymbolTableSection

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.firmware.compression import decompress
from bimetal.firmware.elf_file import reading_elf
from bimetal.firmware.elf_machine import is_elf
from bimetal.firmware.program import read_file
from bimetal.firmware.symbol_list import read_list
from bimetal.firmware.symbol_table import Symbol, SymbolTable

__all__ = ["elf_symbols", "load_symbols"]

OF_TOOLS = ("$", ".L")
"""What names begin with that compilers and assemblers give for themselves."""
STUB = b"The real System.map is in the"
"""What Debian's kernel packages have in their System.map."""


def load_symbols(path: str) -> SymbolTable:
    """The symbols in the file at ``path``, an ELF file or a list.

    Raises `BimetalError` if it is neither, or names no code.
    """
    data = decompress(read_file(path, "symbol file"), f"the symbol file {path}")
    table = elf_symbols(data, path) if is_elf(data) else _listed(data, path)
    if not len(table):
        raise _refused(path, "names no code", "give a file that is not stripped")
    return table


def elf_symbols(data: bytes, path: str) -> SymbolTable:
    """The symbols of an ELF file, none if it is stripped. Raises `BimetalError` if damaged."""
    with reading_elf(data, f"the symbol file {path}") as elf:
        return SymbolTable(_functions(elf, Path(path).name))


def _functions(elf: Any, name: str) -> Iterator[Symbol]:
    for section in elf.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        for symbol in section.iter_symbols():
            kind, where = symbol["st_info"]["type"], symbol["st_shndx"]
            # Assembly has labels without a type.
            is_code = kind in ("STT_FUNC", "STT_NOTYPE") and where not in ("SHN_UNDEF", "SHN_ABS")
            if is_code and symbol.name and not symbol.name.startswith(OF_TOOLS):
                yield Symbol(symbol["st_value"], symbol["st_size"], symbol.name, name)


def _listed(data: bytes, path: str) -> SymbolTable:
    if STUB in data:
        raise _refused(
            path,
            "only says that Debian has the real one elsewhere",
            "install the package linux-image-VERSION-dbg, and give its System.map",
        )
    lines, odd = read_list(data.decode("utf-8-sig", "replace"))
    if not lines:
        raise _refused(
            path,
            "is neither an ELF file nor a list of symbols",
            "give an ELF file, or a file like System.map or the guest's /proc/kallsyms",
        )
    if not any(line.address for line in lines):
        raise _refused(
            path,
            "hides all addresses",
            "read /proc/kallsyms as root in the guest, after 'sysctl kernel.kptr_restrict=0'",
        )
    if odd:
        logger("symbols").warning("%s: lines that name no symbol are passed over: %s", path, odd)
    file = Path(path).name
    return SymbolTable(
        (
            Symbol(line.address, line.size, line.name, f"[{line.module}]" if line.module else file)
            for line in lines
            if line.is_code and not line.name.startswith(OF_TOOLS)
        ),
        (line.address for line in lines if not line.is_code),
    )


def _refused(path: str, how: str, remedy: str) -> BimetalError:
    return BimetalError(f"the symbol file {path} {how}", remedy, ExitCode.DATA)
