"""What a control and status register is, and the table of all."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ...ir.value import Value, const
from ..trace import Cpu
from .state import CSR_NAMES, rv64

__all__ = ["CSRS", "WINDOWS", "Csr", "constant", "declare", "stored", "window"]


class Csr(Struct, frozen=True):
    """One CSR; without ``write``, writes that are allowed have no effect. ``check`` traps where an
    instruction must not touch it, beyond what its number says."""

    number: int
    name: str
    read: Callable[[Cpu], Value]
    write: Callable[[Cpu, Value], None] | None = None
    check: Callable[[Cpu], None] | None = None


CSRS: dict[int, Csr] = {}
WINDOWS: list[int] = []
"""The numbers of CSRs that are windows to a device's registers."""


def declare(
    number: int,
    name: str,
    read: Callable[[Cpu], Value],
    write: Callable[[Cpu, Value], None] | None = None,
    check: Callable[[Cpu], None] | None = None,
) -> None:
    """Declare a CSR, also as a register that users can access by name."""
    _declare(Csr(number, name, read, write, check))
    rv64.view(name, 64, read, write)


def _declare(csr: Csr) -> None:
    assert csr.number not in CSRS, csr.name
    CSRS[csr.number] = csr
    CSR_NAMES[csr.number] = csr.name


def window(number: int, name: str) -> None:
    """Declare a CSR through which registers of a device are reached."""
    WINDOWS.append(number)
    CSR_NAMES[number] = name


def stored(
    number: int, name: str, mask: int = -1, check: Callable[[Cpu], None] | None = None
) -> None:
    """A register that keeps the bits of ``mask`` and no others, whoever writes it."""
    rv64.state.constrain(name, mask)

    def write(cpu: Cpu, value: Value) -> None:
        setattr(cpu, name, value & mask)

    _declare(Csr(number, name, lambda cpu: getattr(cpu, name), write, check))


def constant(number: int, name: str, value: int = 0) -> None:
    """A register that always reads as ``value``."""
    declare(number, name, lambda cpu: const(value, 64))
