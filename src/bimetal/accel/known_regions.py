"""All regions that are available, loaded or in the store, found by the code they were made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from msgspec import Struct, field

from ..codegen.cover import Line, family_of, lines_of
from ..codegen.job import Compiled, Job
from ..codegen.store import CodeStore
from ..codegen.stored_region import StoredRegion
from ..isa.decoding import Decoding
from .code_page import Loaded
from .loader import Loader

__all__ = ["Known", "KnownRegions"]


class Known(Struct, frozen=True, eq=False):
    """A loaded region, the family and the line by which it is found, and whether it comes from an
    ``earlier`` run."""

    stored: StoredRegion
    loaded: Loaded
    family: str
    line: Line
    earlier: bool

    @property
    def worth(self) -> tuple[int, int]:
        """Sort key: by level, then by number of entries. Regions are installed in this order, so
        one that was made from several others replaces them."""
        return self.loaded.level, len(self.loaded.entries)

    def fits(self, code: bytes) -> bool:
        """Whether it may be executed in a page with this code, decoded in the same way."""
        number, content = self.line
        at = number * len(content)
        return code[at : at + len(content)] == content and self.stored.cover.fits(code)


class _Found(Struct):
    """What a line leads to: the regions that are loaded, and whether the store has others."""

    known: list[Known] = field(default_factory=list)
    more: bool = False


_Index = defaultdict[bytes, defaultdict[int, _Found]]
"""By the content of lines, then by their numbers: few pages have a line that leads to anything."""


class KnownRegions:
    """The regions that an engine (given by its digest) has made in this run or left in the store.

    A region in the store is loaded when a page that it fits is first met. ``refused`` is called
    with the error for each one that turns out to be unusable.
    """

    def __init__(
        self,
        store: CodeStore | None,
        engine: bytes,
        loader: Loader,
        refused: Callable[[str], None],
    ):
        self._store, self._engine, self._loader = store, engine, loader
        self._refused = refused
        self._families: dict[Decoding, str] = {}
        self._lines: dict[str, _Index] = {}
        self._by_address: dict[int, Known] = {}
        self._symbols: set[str] = set()
        self._used: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_address)

    def keep_in(self, store: CodeStore | None) -> None:
        """Use another store from now on, or none."""
        self._store = store

    def at(self, address: int) -> Known | None:
        """The region at a host address; None if there is none."""
        return self._by_address.get(address)

    def family(self, decoding: Decoding) -> str:
        """See `family_of`."""
        family = self._families.get(decoding)
        if family is None:
            family = self._families[decoding] = family_of(self._engine, decoding)
        return family

    def _index(self, family: str) -> _Index:
        """The lines that lead to regions of a family. What the store has is listed when code of the
        family is first met: it may have many others, of other guests and engines."""
        lines = self._lines.get(family)
        if lines is None:
            lines = self._lines[family] = defaultdict(lambda: defaultdict(_Found))
            for key in self._store.keys(family) if self._store is not None else ():
                with suppress(ValueError):  # it is damaged
                    number, content = Line.of_key(key)
                    lines[content][number].more = True
        return lines

    def begin_empty(self, decodings: Iterable[Decoding]) -> bool:
        """Whether there is a store, and nothing in it for code that is decoded in these ways."""
        store = self._store
        return store is not None and not any(store.has(self.family(each)) for each in decodings)

    def of(self, code: bytes, decoding: Decoding, room: int) -> list[Known]:
        """The regions that can execute a page's code, in the order in which they are to be
        installed; at most ``room`` more of them are loaded from the store."""
        family, contents = self.family(decoding), lines_of(code)
        lines, found = self._index(family), list[Known]()
        for content in set(filter(lines.__contains__, contents)):
            for number, here in lines[content].items():
                if contents[number] == content:
                    if here.more and room > len(found):
                        self._recall(family, Line(number, content), code)
                    found += (each for each in here.known if each.stored.cover.fits(code))
        return sorted(found, key=lambda each: each.worth)

    def _recall(self, family: str, line: Line, code: bytes) -> None:
        """Load the regions of the store that are found by a line and fit."""
        if self._store is None:
            return
        key, here, others = line.key(family), self._index(family)[line.content][line.number], False
        for name, content in self._store.parts(key):
            try:
                stored = StoredRegion.parse(name)
                if stored.symbol in self._symbols:
                    continue
                if stored.cover.fits(code):
                    self._load(stored, content, family, line, earlier=True)
                else:
                    others = True
            except Exception as error:
                self._refused(repr(error))
                self._store.drop(key, name)
        self._used.add(key)
        here.more = others

    def add(self, job: Job, answer: Compiled) -> Known:
        """Load a region that was made in this run, and store it for later ones."""
        stored = answer.stored(job)
        family, line = self.family(job.decoding), stored.cover.line(job.code)
        known = self._load(stored, answer.content, family, line, earlier=False)
        if self._store is not None:
            key = line.key(family)
            self._store.put(key, answer.content, stored.name)
            self._used.add(key)
        return known

    def _load(
        self, stored: StoredRegion, content: bytes, family: str, line: Line, earlier: bool
    ) -> Known:
        address = self._loader.load(content)
        loaded = Loaded(stored.level, stored.entries, address)
        known = Known(stored, loaded, family, line, earlier)
        self._index(family)[line.content][line.number].known.append(known)
        self._by_address[address] = known
        self._symbols.add(stored.symbol)
        return known

    def close(self) -> None:
        """Record what was used, and free everything: no vCPU runs any more."""
        if self._store is not None:
            self._store.touch(self._used)
        for held in (self._lines, self._by_address, self._symbols, self._used):
            held.clear()
        self._loader.close()
