"""Executing a single instruction, for accelerators that meet one they cannot execute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from ..ir.access import Access
from ..ir.evaluate import evaluate
from ..ir.softfloat import Environment
from ..isa.contract import RegisterStore
from ..isa.describe import Decoded

__all__ = ["Guest", "GuestMemory", "evaluate_insn"]


class GuestMemory(Protocol):
    """Memory as the guest sees it; an access raises `Trap` where it faults."""

    def load(self, address: int, access: Access) -> int:
        """Load ``access.width`` bits."""

    def store(self, address: int, value: int, access: Access) -> None:
        """Store ``access.width`` bits."""

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        """Replace the value by ``change(value)`` atomically; the old value."""


class Guest(Struct):
    """Registers and memory of another accelerator, for one instruction."""

    registers: RegisterStore
    memory: GuestMemory
    pc: int
    environment: Environment

    def get(self, file: str, index: int) -> int:
        return self.registers.get(file, index)

    def set(self, file: str, index: int, value: int) -> None:
        self.registers.set(file, index, value)

    def load(self, address: int, access: Access) -> int:
        return self.memory.load(address, access)

    def store(self, address: int, value: int, access: Access) -> None:
        self.memory.store(address, value, access)

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        return self.memory.update(address, access, change)

    def host(self, name: str, args: Sequence[int]) -> int:
        if name in ("relax", "shared"):  # nobody else is waited for, or told anything
            return 0
        raise NotImplementedError(f"{name} of the engine, for a single instruction")

    def leave(self, reason: str, args: Sequence[int]) -> None:
        if reason != "reference":
            raise NotImplementedError(f"a single instruction that leaves: {reason}")

    def sync(self) -> None:
        """Nothing to do: the caller looks at the mode again anyway."""


def evaluate_insn(
    decoded: Decoded,
    registers: RegisterStore,
    memory: GuestMemory,
    pc: int,
    environment: Environment,
) -> int:
    """Execute one instruction, at ``pc``; the next pc. Raises `Trap`.

    ``environment`` holds the rounding mode (where the description does not set one) and takes
    the sticky flags.
    """
    guest = Guest(registers, memory, pc, environment)
    target, _ = evaluate(decoded.insn.variant(decoded.fields), decoded.fields, guest)
    return pc + decoded.length if target is None else target
