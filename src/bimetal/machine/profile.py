"""Where a guest's instructions go, by function: samples of an accelerator and names for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.firmware.compression import decompress
from bimetal.firmware.elf_machine import is_elf
from bimetal.firmware.program import read_file
from bimetal.firmware.symbol_table import SymbolTable
from bimetal.machine.assembly import Assembly
from bimetal.machine.config import NO_BIOS, RAW, Config
from bimetal.memory.ram import PAGE_SIZE
from bimetal.seam import Place, Sampled, Samples

__all__ = ["GuestProfile", "ProfileRow", "Profiler"]

HEADER = "# percent   samples  mode        tier         object            symbol"


class ProfileRow(Struct, frozen=True):
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


class GuestProfile(Struct, frozen=True):
    """A table of functions, the hottest first. ``samples`` is the number of samples, ``lost`` that
    of samples which were overwritten before they were read.

    Samples are taken after about the same number of instructions. Translated code executes them
    several times faster, so the table has separate rows for each tier.
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


class Profiler:
    """Profiles the machine that consists of ``parts``."""

    def __init__(self, parts: Assembly):
        self._parts = parts
        self._given: list[SymbolTable] = []
        self._own: dict[str, SymbolTable] = {}

    def start(self, symbols: Sequence[str]) -> None:
        """See `Machine.start_profile`."""
        load_symbols = late("bimetal.firmware.symbols:load_symbols")
        self._given = [load_symbols(path) for path in symbols]
        self._own = own_symbols(self._parts.furnished().config)
        self._sampled().start_sampling()

    def profile(self) -> GuestProfile:
        """See `Machine.profile`."""
        samples, moved = self._sampled().samples(), self._parts.furnished().boot.moved
        own = [table.moved(moved.get(path, 0)) for path, table in self._own.items()]
        return profile_of(samples, [*self._given, *own])

    def _sampled(self) -> Sampled:
        accelerator = self._parts.built().accelerator
        if not isinstance(accelerator, Sampled):
            raise BimetalError(
                f"the accelerator {accelerator.name} takes no samples of the guest",
                "choose 'jit' or 'interp'; for KVM there is 'perf kvm'",
                ExitCode.UNAVAILABLE,
            )
        return accelerator


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
    tables, elf_symbols = {}, late("bimetal.firmware.symbols:elf_symbols")
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
