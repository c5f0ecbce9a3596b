"""Where vCPUs have decoded what code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .code_page import CodePage
from .hotness import Page, Spot
from .tiered import TieredVcpu

__all__ = ["Places"]


class Places:
    """The decoded pages of all vCPUs, and what is known about their content.

    Code that several vCPUs execute is as hot as it is for all of them together: what is sampled in
    any of its pages counts for the first one that holds it, its home. The handler of records that
    have not been decoded is ``undecoded``.
    """

    def __init__(self, vcpus: Sequence[TieredVcpu], undecoded: int) -> None:
        self._vcpus, self._undecoded = vcpus, undecoded
        self._at: dict[Page, CodePage] = {}
        self._pages: dict[CodePage, dict[Page, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def get(self, page: Page) -> CodePage | None:
        """What is known about a page's content; None for a page that nobody has told of."""
        return self._at.get(page)

    def enter(self, page: Page, code_page: CodePage) -> CodePage | None:
        """A page holds this content from now on; the other content that it had, if any."""
        before = self._at.get(page)
        if before is code_page:
            return None
        if before is not None:
            self._leave(page, before)
        self._at[page] = code_page
        self._pages.setdefault(code_page, {})[page] = None
        return before

    def _leave(self, page: Page, before: CodePage) -> None:
        del self._pages[before][page]
        if not self._pages[before]:
            del self._pages[before]

    def home(self, spot: Spot) -> Spot:
        """The same place in its code's home."""
        code_page = self._at.get(spot.place)
        if code_page is None:
            return spot
        vcpu, page = next(iter(self._pages[code_page]))
        return Spot(vcpu, page, spot.offset, spot.jumps)

    def executed(self, page: Page) -> bytes:
        """A byte for each granule of a page, 1 if some vCPU has decoded it, in that page or where
        it had the same content last."""
        code_page = self._at.get(page)
        pages = dict([page] if code_page is None else [*self._pages[code_page]])
        vcpus = {vcpu.index: vcpu for vcpu in self._vcpus}
        found = [vcpus[index].executed(at, self._undecoded) for index, at in pages.items()]
        return bytes(map(any, zip(*found, strict=True)))

    def holding(self, code_pages: list[CodePage]) -> Iterator[tuple[Page, CodePage]]:
        """The pages that have one of these contents, and which."""
        for code_page in code_pages:
            for page in self._pages.get(code_page, ()):
                yield page, code_page

    def clear(self) -> None:
        """Forget all pages."""
        self._at.clear()
        self._pages.clear()
