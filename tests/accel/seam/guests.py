"""Guest programs without an instruction set: a few steps that every bed can put into code.

A bed has an accumulator: `Load` and `In` set it, `Put` stores it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "In",
    "Load",
    "Nop",
    "Out",
    "Program",
    "Put",
    "Spin",
    "SpinWhileZero",
    "Step",
    "Store",
    "Wait",
]


@dataclass(frozen=True)
class Store:
    """Store ``value``, ``size`` bytes wide, at a physical address."""

    address: int
    value: int
    size: int = 4


@dataclass(frozen=True)
class Load:
    """Load ``size`` bytes into the accumulator, zero-extended."""

    address: int
    size: int = 4


@dataclass(frozen=True)
class Put:
    """Store the accumulator."""

    address: int
    size: int = 4


@dataclass(frozen=True)
class Out:
    """Write ``value`` to an x86 port."""

    port: int
    value: int
    size: int = 1


@dataclass(frozen=True)
class In:
    """Read an x86 port into the accumulator."""

    port: int
    size: int = 1


@dataclass(frozen=True)
class Wait:
    """Wait for an interrupt."""


@dataclass(frozen=True)
class Nop:
    """Do nothing."""


@dataclass(frozen=True)
class Spin:
    """Stay here for ever."""


@dataclass(frozen=True)
class SpinWhileZero:
    """Read the byte at ``address`` until it is not 0."""

    address: int


Step = Store | Load | Put | Out | In | Wait | Nop | Spin | SpinWhileZero


@dataclass(frozen=True)
class Program:
    """``steps`` from the start on; with a ``handler``, interrupts are on and lead to it."""

    steps: tuple[Step, ...]
    handler: tuple[Step, ...] = ()

    def __init__(self, *steps: Step, handler: tuple[Step, ...] = ()):
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "handler", handler)
