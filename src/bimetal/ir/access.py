"""How memory is accessed: address space, width, order, alignment, privilege, byte order."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

__all__ = ["WIDTHS", "Access", "Order", "Space"]

WIDTHS = (8, 16, 32, 64, 128)


class Space(Enum):
    """The address space of an address."""

    VIRTUAL = "virtual"
    """The guest's own: translated, and what a program's loads and stores use."""

    PHYSICAL = "physical"
    """Guest-physical: what a page table walk reads. Memory only, never devices."""

    PORT = "port"
    """I/O ports, x86's: devices only. What an instruction does there is an exit `seam.Pio`."""

    BOARD = "board"
    """Registers of the vCPU that a device on the board has, by number: `seam.RegisterAccess`."""


class Order(Enum):
    """How an access is ordered with others of its vCPU, as other vCPUs see them."""

    PLAIN = "plain"
    """Not ordered, except that an access comes before those that depend on its value."""

    ACQUIRE = "acquire"
    """It comes before all accesses that follow it in program order."""

    RELEASE = "release"
    """It comes after all accesses that precede it in program order."""

    SEQUENTIAL = "sequential"
    """All such accesses have one order, which every vCPU sees."""


class Access(Struct, frozen=True):
    """One access of ``width`` bits.

    ``aligned`` ones trap when misaligned, others are split. ``unprivileged`` ones have the rights
    of user mode whatever the mode is. ``big_endian`` says which byte comes first. ``in_page`` ones
    are known not to cross a page boundary. ``reads`` says that an atomic update counts as a load
    too, for permissions and watchpoints, unlike a store-conditional. Atomic updates are always
    aligned, and ordered at least as ``order`` says.
    """

    width: int
    aligned: bool = False
    space: Space = Space.VIRTUAL
    order: Order = Order.PLAIN
    unprivileged: bool = False
    big_endian: bool = False
    in_page: bool = False
    reads: bool = False

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:
            raise ValueError(f"an access of {self.width} bits; there are {WIDTHS}")

    @property
    def size(self) -> int:
        """The width in bytes."""
        return self.width // 8

    @property
    def piecewise(self) -> bool:
        """Whether it stands for several accesses of at most 64 bits, which need not be aligned to
        what it is as a whole."""
        return self.width > 64 or self.in_page

    def __str__(self) -> str:
        words = [str(self.width)]
        words += ["aligned"] if self.aligned else []
        words += [part.value for part in (self.space, self.order) if part not in _USUAL]
        words += ["unprivileged"] if self.unprivileged else []
        words += ["big-endian"] if self.big_endian else []
        words += ["in page"] if self.in_page else []
        return ".".join(words)


_USUAL = (Space.VIRTUAL, Order.PLAIN)
