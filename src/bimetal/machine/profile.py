"""Where a guest's instructions go, by function: samples of an accelerator and names for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bimetal.firmware.compression import decompress
from bimetal.firmware.elf_file import is_elf
from bimetal.firmware.program import read_file
from bimetal.firmware.symbols import SymbolTable, elf_symbols
from bimetal.machine.config import NO_BIOS, RAW, Config
from bimetal.memory.ram import PAGE_SIZE
from bimetal.seam import Place, Samples

__all__ = ["GuestProfile", "ProfileRow", "own_symbols", "profile_of"]

HEADER = "# percent   samples  mode        tier         object            symbol"


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """What was seen of one function: ``percent`` of all samples, in one mode and one tier.

    Code without a name is summed by page: ``symbol`` is the page's address, ``object`` is
    ``[user]`` for user mode and ``[unknown]`` otherwise.
    """

    percent: float
    samples: int
    mode: str
    tier: str
    object: str
    symbol: str

    def __str__(self) -> str:
        return (
            f"{self.percent:8.2f}%  {self.samples:8}  {self.mode:10}  {self.tier:11}  "
            f"{self.object:16}  {self.symbol}"
        )


@dataclass(frozen=True, slots=True)
class GuestProfile:
    """A table of functions, the hottest first, of ``samples`` that were seen; ``lost`` are those
    that nobody looked at in time.

    Samples are taken after about as many instructions each. Translated code does them several
    times faster, so the tiers are told apart.
    """

    rows: tuple[ProfileRow, ...]
    samples: int
    lost: int

    def __str__(self) -> str:
        return self.table()

    def table(self, limit: int | None = None) -> str:
        """The profile as text, cut to the ``limit`` hottest rows."""
        lines = [f"# {self.samples} samples of the guest, {self.lost} lost", HEADER]
        lines += [str(row) for row in self.rows[:limit]]
        rest = self.rows[len(lines) - 2 :]
        if rest:
            percent = sum(row.percent for row in rest)
            lines.append(f"{percent:8.2f}%  {sum(row.samples for row in rest):8}  {len(rest)} more")
        return "\n".join(lines)


def profile_of(samples: Samples, tables: Sequence[SymbolTable]) -> GuestProfile:
    """The profile of ``samples``, named by the first of ``tables`` that knows a name."""
    sums: Counter[tuple[str, str, str, str]] = Counter()
    for place, count in samples.counts.items():
        tier = "translated" if place.translated else "interpreted"
        sums[place.mode, tier, *_name(place, tables)] += count
    total = sums.total()
    rows = tuple(
        ProfileRow(100 * count / total, count, *key)
        for key, count in sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    )
    return GuestProfile(rows, total, samples.lost)


def own_symbols(config: Config) -> dict[str, SymbolTable]:
    """The symbols of the machine's kernel and firmware, of those that are ELF files, by path."""
    paths = [] if config.kernel_format == RAW else [("kernel", config.kernel)]
    tables = {}
    for what, path in [*paths, ("bios", config.bios)]:
        if path and path != NO_BIOS:
            data = decompress(read_file(path, what), f"the {what} {path}")
            if is_elf(data):
                tables[path] = elf_symbols(data, path)
    return tables


def _name(place: Place, tables: Sequence[SymbolTable]) -> tuple[str, str]:
    for table in tables:
        if symbol := table.find(place.pc):
            return symbol.object, symbol.name
    owner = "[user]" if place.user else "[unknown]"
    return owner, f"{place.pc & -PAGE_SIZE:#x}"
