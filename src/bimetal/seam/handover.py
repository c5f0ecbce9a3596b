"""What boards and accelerators settle between them where a machine goes on with another kind of
accelerator: the states of interrupt controllers that the board models in one case, and the kernel
in the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Controllers", "LocalController", "SharedControllers"]

Devices = Mapping[str, Mapping[str, Any]]
"""The saved states of a board's devices, by name."""


class LocalController(NamedTuple):
    """The interrupt controller of one CPU: its registers as the kernel has them, where they are,
    and when its timer fires at a deadline on the machine's clock (0: at none)."""

    registers: bytes
    base: int
    deadline: int


class Controllers(NamedTuple):
    """Those of each CPU, and those that all share, as the kernel has them."""

    local: Sequence[LocalController]
    shared: Sequence[bytes]


class SharedControllers(Protocol):
    """A board's part in it. Methods raise `BimetalError` for what the other side cannot do."""

    def for_kernel(self, devices: Devices, cpus: int, now: int) -> Controllers:
        """What the controllers in a board's ``devices`` are, for the kernel; ``now`` is the
        machine's time."""

    def for_board(
        self, controllers: Controllers, devices: Devices, now: int
    ) -> tuple[Devices, list[bool]]:
        """``devices`` with what the kernel's ``controllers`` are; and for each CPU whether its
        interrupt input is high."""

    def unused(self, devices: Devices, fresh: Devices) -> Devices:
        """``devices`` with those that are not in use as they are in ``fresh``."""
