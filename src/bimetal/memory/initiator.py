"""Who makes an access."""

from __future__ import annotations

__all__ = ["Initiator"]


class Initiator:
    """The CPU whose access a device is answering, by its number; 0 for accesses from elsewhere.

    For the few devices that have registers of a CPU's own at one address for all. A board hands it
    to them; the machine keeps it true under its lock.
    """

    __slots__ = ("cpu",)

    def __init__(self) -> None:
        self.cpu = 0
