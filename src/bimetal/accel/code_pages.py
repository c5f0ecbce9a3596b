"""All pages of guest code about which something is known, by their content."""

from __future__ import annotations

from weakref import WeakValueDictionary

from ..isa.decoding import Decoding
from .code_page import CodePage
from .known_regions import Known, KnownRegions
from .tiered import Statistics

__all__ = ["CodePages"]


class CodePages:
    """Pages with what has been made of them: decoded for a machine with these ``features``. Content
    that nobody holds at present is forgotten."""

    def __init__(self, regions: KnownRegions, features: int, statistics: Statistics):
        self._regions, self._features, self._statistics = regions, features, statistics
        self._pages = WeakValueDictionary[tuple[bytes, int], CodePage]()

    def __len__(self) -> int:
        return len(self._pages)

    def begin_empty(self, modes: int) -> bool:
        """Whether earlier runs have left nothing for code in any of so many decode modes, so that
        what this one meets will have to be translated."""
        return self._regions.begin_empty(Decoding(mode, self._features) for mode in range(modes))

    def of(self, code: bytes, mode: int, room: int) -> CodePage:
        """What is known about a page's content in a decode mode, in memory or in the store, of
        which at most ``room`` regions are loaded."""
        code_page = self._pages.get((code, mode))
        if code_page is None:
            decoding = Decoding(mode, self._features)
            code_page = self._pages[code, mode] = CodePage(code, decoding)
            before = len(self._regions)
            for known in self._regions.of(code, decoding, room):
                code_page.add(known.stored, known.loaded)
                code_page.recalled |= known.earlier
            self._statistics.from_store += len(self._regions) - before
        return code_page

    def served_by(self, known: Known) -> list[CodePage]:
        """Add a new region to the pages in which it can be executed: the one it was made for, and
        others that differ only outside the region's code."""
        fitting = [page for page in self._pages.values() if self._serves(known, page)]
        for code_page in fitting:
            code_page.add(known.stored, known.loaded)
        return fitting

    def clear(self) -> None:
        """Forget all pages."""
        self._pages.clear()

    def _serves(self, known: Known, code_page: CodePage) -> bool:
        fits = known.fits(code_page.code)  # which most do not, and which is quickly seen
        return fits and self._regions.family(code_page.decoding) == known.family
