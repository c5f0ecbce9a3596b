"""What an instruction does, as data: the state before it and the state after it.

Every executor takes a word and a `State` and returns a `State`, so that all of them (oracles,
the reference, native code) can be compared on the same tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

__all__ = ["CODE", "DATA", "Case", "Executor", "State", "differences"]

CODE = 0x8010_0000
"""Where the instruction stands."""
DATA = 0x8014_0000
"""Where the memory of a state stands; registers within a page of it are taken for pointers."""


@dataclass(frozen=True, slots=True)
class State:
    """Registers by name (``x8``, ``f8``, ``pc``, ``frm``, ``fflags``) and 64 bytes at `DATA`.

    ``trap`` is the cause of the exception that the instruction raised, if it did.
    """

    registers: dict[str, int]
    memory: bytes = bytes(64)
    trap: int | None = None

    def with_registers(self, **changes: int) -> State:
        """The same state but for some registers."""
        return replace(self, registers=self.registers | changes)


@dataclass(frozen=True, slots=True)
class Case:
    """One instruction, by its encoding (``size`` bytes, the first one lowest) and for people,
    and the state that it starts in."""

    word: int
    text: str
    before: State
    size: int = 4


class Executor(Protocol):
    """Executes instructions. ``name`` goes into the names of tests."""

    name: str

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """The state after each case; registers that it does not report were not looked at."""


def differences(cases: Iterable[Case], got: Sequence[State], want: Sequence[State]) -> list[str]:
    """One line for each case in which two executors do not agree."""
    lines = []
    for case, a, b in zip(cases, got, want, strict=True):
        wrong = [
            f"{name} is {a.registers[name]:#x}, not {b.registers[name]:#x}"
            for name in a.registers.keys() & b.registers.keys()
            if a.registers[name] != b.registers[name]
        ]
        if a.memory != b.memory:
            wrong.append(f"memory is {a.memory.hex()}, not {b.memory.hex()}")
        if a.trap != b.trap:
            wrong.append(f"trap is {a.trap}, not {b.trap}")
        if wrong:
            before = {n: hex(v) for n, v in case.before.registers.items() if v}
            lines.append(f"{case.text} ({case.word:#x}): {'; '.join(sorted(wrong))}\n   {before}")
    return lines
