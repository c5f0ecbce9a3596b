"""Names of a guest's code: the symbols of an ELF file, or of a list like System.map."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elftools.elf.sections import SymbolTableSection

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.firmware.compression import decompress
from bimetal.firmware.elf_file import is_elf, reading_elf
from bimetal.firmware.program import read_file
from bimetal.firmware.symbol_list import read_list

__all__ = ["Symbol", "SymbolTable", "elf_symbols", "load_symbols"]

OF_TOOLS = ("$", ".L")
"""What names begin with that compilers and assemblers give for themselves."""
STUB = b"The real System.map is in the"
"""What Debian's kernel packages have in their System.map."""
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

    def moved(self, distance: int) -> SymbolTable:
        """The same names for a program that lies elsewhere."""
        symbols = [
            replace(each, address=each.address + distance) for each in self._symbols.values()
        ]
        return SymbolTable(symbols, [start + distance for start in self._starts])

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
