"""Names of a guest's code: the symbols of an ELF file, or a list like System.map.

A list has the lines of nm(1), which are those of the kernel's System.map and /proc/kallsyms:
``ADDRESS TYPE NAME``, and in the latter the module in brackets behind a tab.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.compression import decompress
from bimetal.firmware.elf_file import is_elf
from bimetal.firmware.program import read_file

__all__ = ["Symbol", "SymbolTable", "elf_symbols", "load_symbols"]

LINE = re.compile(r"([0-9a-fA-F]{1,16}) ([A-Za-z?]) (\S+)(?:\s+\[(\S+)\])?\s*")
CODE = "TtWw"
LAST = 4096
"""Bytes that belong to a symbol of unknown size with none behind it."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """The code at ``address``: its name, and the file or module it is in, as the user knows it.

    ``size`` is 0 where the file does not tell; the symbol then ends where the next one begins.
    """

    address: int
    size: int
    name: str
    object: str


class SymbolTable:
    """Symbols of code by address; ``limits`` are addresses of other things, where code ends."""

    def __init__(self, symbols: Iterable[Symbol], limits: Iterable[int] = ()):
        # Of several names for one address the first counts, unless only a later one has a size.
        best: dict[int, Symbol] = {}
        for symbol in symbols:
            known = best.get(symbol.address)
            if known is None or (symbol.size and not known.size):
                best[symbol.address] = symbol
        self._symbols = best
        self._starts = sorted({*best, *limits})

    def __len__(self) -> int:
        return len(self._symbols)

    def find(self, address: int) -> Symbol | None:
        """The symbol whose code ``address`` belongs to."""
        place = bisect_right(self._starts, address)
        symbol = self._symbols.get(self._starts[place - 1]) if place else None
        if symbol is None:
            return None
        following = self._starts[place] if place < len(self._starts) else symbol.address + LAST
        end = symbol.address + symbol.size if symbol.size else following
        return symbol if address < end else None


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
    try:
        elf = ELFFile(io.BytesIO(data))
        return SymbolTable(_functions(elf, Path(path).name))
    except (ELFError, ConstructError, ValueError, OverflowError, UnicodeError) as error:
        raise _refused(path, f"is a damaged ELF file: {error}", "get the file anew") from error


def _functions(elf: ELFFile, name: str) -> Iterator[Symbol]:
    for section in elf.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        for symbol in section.iter_symbols():
            kind, where = symbol["st_info"]["type"], symbol["st_shndx"]
            # Assembly has labels without a type; those with $ and .L are the tools' own.
            is_code = kind in ("STT_FUNC", "STT_NOTYPE") and where not in ("SHN_UNDEF", "SHN_ABS")
            if is_code and symbol.name and not symbol.name.startswith(("$", ".L")):
                yield Symbol(symbol["st_value"], symbol["st_size"], symbol.name, name)


def _listed(data: bytes, path: str) -> SymbolTable:
    symbols, limits = [], []
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None:
            raise _refused(
                path,
                f"has a line {number} that is not 'ADDRESS TYPE NAME'",
                "give an ELF file, or a file like System.map or the guest's /proc/kallsyms",
            )
        address, kind, name, module = match.groups()
        where = f"[{module}]" if module else Path(path).name
        if kind in CODE:
            symbols.append(Symbol(int(address, 16), 0, name, where))
        else:
            limits.append(int(address, 16))
    if symbols and not any(symbol.address for symbol in symbols):
        raise _refused(
            path,
            "hides all addresses",
            "read /proc/kallsyms as root in the guest, after 'sysctl kernel.kptr_restrict=0'",
        )
    return SymbolTable(symbols, limits)


def _refused(path: str, how: str, remedy: str) -> BimetalError:
    return BimetalError(f"the symbol file {path} {how}", remedy, ExitCode.DATA)
