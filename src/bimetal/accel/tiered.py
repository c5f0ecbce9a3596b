"""What tiering sees of vCPUs, and what it tells of its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from .code_page import Loaded

__all__ = ["Statistics", "TieredVcpu"]


class Statistics(Struct):
    """What the translator has done: regions ``compiled`` and taken ``from_store``, guest
    ``instructions`` in compiled regions, and the worker's processor time in ``seconds``."""

    compiled: int = 0
    from_store: int = 0
    instructions: int = 0
    seconds: float = 0.0

    @property
    def counters(self) -> dict[str, int]:
        """The same in words."""
        return {
            "regions compiled": self.compiled,
            "regions from the store": self.from_store,
            "instructions compiled": self.instructions,
            "ms of the compiler's time": round(self.seconds * 1000),
        }


class TieredVcpu(Protocol):
    """A vCPU as tiering sees it; `jit.JitCpu` is one."""

    index: int

    @property
    def kicked(self) -> bool: ...
    def samples(self) -> Counter[tuple[int, int, int]]: ...
    def place(self, record: int) -> tuple[int, int]: ...
    def handler(self, page: int, offset: int) -> int: ...
    def decoded(self) -> Iterable[int]: ...
    def code_of(self, page: int) -> bytes: ...
    def executed(self, page: int, undecoded: int) -> bytes: ...
    def misaligned(self) -> tuple[int, ...]: ...
    def mode_of(self, page: int) -> int: ...
    def offer(self, page: int, code: bytes, regions: list[Loaded], mode: int = 0) -> None: ...
    def pages(self) -> int: ...
    def give_back(self) -> None: ...
