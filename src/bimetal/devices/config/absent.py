"""Hardware that a board leaves out and that operating systems look for all the same."""

from __future__ import annotations

from bimetal.devices.device import Device

__all__ = ["Absent"]


class Absent(Device):
    """An unpopulated place on the board: reads float, writes are lost, and neither is a guest
    error."""

    kind = "absent"
    newer = True  # it has no state, and boards come to know of more such places

    def read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """Lost."""
