"""LLVM's types of floating-point numbers and integers, scalar or vector."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

__all__ = ["Kind"]

_NAMES = {16: "half", 32: "float", 64: "double"}


class Kind(Struct, frozen=True):
    """An LLVM type: ``count`` floating-point numbers or integers of ``width`` bits. ``suffix`` is
    how it is mangled into names of intrinsics."""

    width: int
    count: int
    type: str
    suffix: str

    @classmethod
    def float(cls, width: int, count: int) -> Self:
        """Floating-point numbers."""
        return cls._of(width, count, _NAMES[width], f"f{width}")

    @classmethod
    def integer(cls, width: int, count: int) -> Self:
        """Integers."""
        return cls._of(width, count, f"i{width}", f"i{width}")

    @classmethod
    def _of(cls, width: int, count: int, one: str, suffix: str) -> Self:
        if count == 1:
            return cls(width, count, one, suffix)
        return cls(width, count, f"<{count} x {one}>", f"v{count}{suffix}")

    def numbered(self) -> str:
        """The constant with 0, 1, 2 ... in its lanes."""
        one = f"i{self.width}"
        if self.count == 1:
            return f"{self.type} 0"
        return f"{self.type} <{', '.join(f'{one} {n}' for n in range(self.count))}>"

    def every(self, number: int) -> str:
        """The constant with this integer in every lane."""
        if self.count == 1:
            return str(number)
        one = self.type.rpartition(" ")[2].rstrip(">")
        return f"<{', '.join([f'{one} {number}'] * self.count)}>"
