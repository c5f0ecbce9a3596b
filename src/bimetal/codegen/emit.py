"""Writing LLVM text instruction by instruction: the base of every lowering."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from ..ir.value import Value

__all__ = ["RARELY", "USUALLY", "Emitter"]

# Branch weights; `tlb.METADATA` defines them.
RARELY, USUALLY = "!prof !0", "!prof !1"


class Emitter(ABC):
    """Writes the body of one LLVM function into `lines`. `open` is False after a terminator, while
    nothing that is appended could be reached."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.exits: list[str] = []
        self.names: dict[Value, str] = {}
        self.open = True
        self.at = "%entry"
        self._count = 0

    @abstractmethod
    def operand(self, value: Value) -> str:
        """The LLVM operand (a name or a constant) for a traced value."""

    def fresh(self, prefix: str = "v") -> str:
        """A local name that is not in use."""
        self._count += 1
        return f"%{prefix}{self._count}"

    def put(self, line: str) -> None:
        """Append an instruction, unless nothing can reach it."""
        if self.open:
            self.lines.append("  " + line)

    def let(self, line: str) -> str:
        """Append an instruction with a result; its name."""
        name = self.fresh()
        self.put(f"{name} = {line}")
        return name

    def label(self, name: str) -> None:
        """Start a basic block."""
        plain = name.removeprefix("%")
        self.lines.append(f"{plain}:")
        self.open, self.at = True, f"%{plain}"

    def end(self, line: str) -> None:
        """Append a terminator."""
        self.put(line)
        self.open = False

    def aside(self, write: Callable[[], None]) -> str:
        """A label whose code, written by ``write``, is placed after the rest of the function."""
        label = self.fresh("exit")
        lines, was_open, at, self.lines = self.lines, self.open, self.at, []
        self.label(label)
        write()
        self.exits += self.lines
        self.lines, self.open, self.at = lines, was_open, at
        return label

    def branch(self, condition: str, then: str, otherwise: str, weight: str = "") -> None:
        """End the block with a conditional branch; ``weight`` may be `RARELY` (``then`` is cold)
        or `USUALLY`."""
        tail = f", {weight}" if weight else ""
        self.end(f"br i1 {condition}, label {then}, label {otherwise}{tail}")

    def pointer(self, base: str, offset: int | str) -> str:
        """The pointer ``base`` plus a number of bytes."""
        return base if offset == 0 else self.let(f"getelementptr i8, ptr {base}, i64 {offset}")

    def narrow(self, name: str, kind: str, width: int) -> str:
        """The low ``width`` bits of a value of LLVM type ``kind``."""
        return name if kind == f"i{width}" else self.let(f"trunc {kind} {name} to i{width}")

    def widen(self, name: str, kind: str, width: int) -> str:
        """A value of ``width`` bits, zero-extended to ``kind``."""
        return name if kind == f"i{width}" else self.let(f"zext i{width} {name} to {kind}")

    def resized(self, name: str, kind: str) -> str:
        """An i64 as an integer of LLVM type ``kind``, zero-extended or truncated."""
        width = int(kind[1:])
        return self.widen(name, kind, 64) if width > 64 else self.narrow(name, "i64", width)
