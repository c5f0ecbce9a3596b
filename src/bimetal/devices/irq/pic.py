"""The interrupt controllers of a PC: two 8259A, one behind the other (Intel, 8259A Programmable
Interrupt Controller, 231468-003), with a register that says which inputs are level-triggered."""

from __future__ import annotations

from bimetal.devices.device import Device
from bimetal.devices.irq.pin import Pin
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access

__all__ = ["CASCADE", "Pic", "PicLevels"]

INPUTS = 8
CASCADE = 2
"""The input of the first controller at which the second one is."""
SPURIOUS = 7
"""The input whose vector is given where nothing asks any more."""

FIRST_WORD, SECOND_IS_NEEDED, SINGLE = 1 << 4, 1 << 0, 1 << 1
THIRD_KIND = 1 << 3
AUTOMATIC, NESTED = 1 << 1, 1 << 4
SPECIAL_MASK = 1 << 5
POLL = 1 << 2


class Pic(Device):
    """One 8259A: ``pic[n]`` is input ``n``, ``intr`` asks the processor, or the first controller.

    ``behind`` is the second controller, at input 2 of this one.
    """

    kind = "pic"
    mmio_size = 2
    newer = True
    access = Access(width=1)
    saved = (
        *("inputs", "requested", "serviced", "masked", "levels", "vectors", "lowest"),
        *(
            "words",
            "wanted",
            "automatic",
            "rotating",
            "nested",
            "special",
            "polled",
            "reads_served",
        ),
    )
    fixed = ("behind",)

    COMMAND = Reg(0, size=1, writable=0)
    DATA = Reg(1, size=1, writable=0)

    intr = Out()

    def __init__(self, behind: Pic | None = None):
        self.behind = behind
        self.inputs = self.levels = 0
        self._forget()
        super().__init__()

    def __getitem__(self, number: int) -> Pin:
        if not 0 <= number < INPUTS:
            raise IndexError(f"a PIC has inputs 0 to {INPUTS - 1}, not {number}")
        return Pin(self, number)

    def reset(self) -> None:
        super().reset()
        self.levels = 0
        self._forget()
        self.update()

    def _forget(self) -> None:
        self.requested = self.serviced = self.masked = self.vectors = 0
        self.words = self.wanted = 0
        self.lowest = INPUTS - 1
        self.automatic = self.rotating = self.nested = self.special = False
        self.polled = self.reads_served = False

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        bit = 1 << number
        if level:
            if self.levels & bit or not self.inputs & bit:
                self.requested |= bit
            self.inputs |= bit
        else:
            self.inputs &= ~bit
            if self.levels & bit:
                self.requested &= ~bit
        self.update()

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`: such a pin knows levels and edges."""

    def acknowledge(self) -> int:
        """Take the most urgent interrupt; its vector."""
        number = self._best()
        if number is None:
            number = SPURIOUS
        else:
            self._take(number)
            if number == CASCADE and self.behind is not None:
                vector = self.behind.acknowledge()
                self.update()
                return vector
        self.update()
        return self.vectors | number

    def update(self) -> None:
        """Drive the output."""
        level = self._best() is not None
        if level != self.intr.high:
            self.intr(level)

    def _take(self, number: int) -> None:
        bit = 1 << number
        if self.automatic:
            if self.rotating:
                self.lowest = number
        else:
            self.serviced |= bit
        if not self.levels & bit:
            self.requested &= ~bit

    def _rank(self, bits: int) -> int:
        """How urgent the most urgent of some inputs is: 0 is most, 8 is none of them."""
        first = self.lowest + 1
        for rank in range(INPUTS):
            if bits >> (first + rank) % INPUTS & 1:
                return rank
        return INPUTS

    def _best(self) -> int | None:
        """The input whose interrupt is taken next."""
        rank = self._rank(self.requested & ~self.masked)
        served = self.serviced
        if self.special:
            served &= ~self.masked
        if self.nested and self.behind is not None:
            served &= ~(1 << CASCADE)  # others of the second controller may come in between
        if rank == INPUTS or rank >= self._rank(served):
            return None
        return (self.lowest + 1 + rank) % INPUTS

    # Registers

    def w_COMMAND(self, written: Value) -> None:
        if written & FIRST_WORD:
            levels = self.levels
            self._forget()
            self.levels = levels
            self.requested = self.inputs & levels
            self.words, self.wanted = int(written), 2
        elif written & THIRD_KIND:
            if written & POLL:
                self.polled = True
            if written & 2:
                self.reads_served = bool(written & 1)
            if written & 1 << 6:
                self.special = bool(written & SPECIAL_MASK)
        else:
            self._end(written >> 5, written & 7)
        self.update()

    def _end(self, what: int, number: int) -> None:
        """Operation command word 2."""
        if what in (0, 4):  # rotate in automatic mode: clear, set
            self.rotating = what == 4
        elif what in (1, 5):  # the most urgent one that is served ends
            rank = self._rank(self.serviced)
            if rank < INPUTS:
                ended = (self.lowest + 1 + rank) % INPUTS
                self.serviced &= ~(1 << ended)
                if what == 5:
                    self.lowest = ended
        elif what in (3, 7):
            self.serviced &= ~(1 << number)
            if what == 7:
                self.lowest = number
        elif what == 6:
            self.lowest = number

    def r_COMMAND(self) -> int:
        if self.polled:
            return self._poll()
        return self.serviced if self.reads_served else self.requested

    def r_DATA(self) -> int:
        return self._poll() if self.polled else self.masked

    def _poll(self) -> int:
        self.polled = False
        number = self._best()
        if number is None:
            return 0
        self._take(number)
        self.update()
        return 0x80 | number

    def w_DATA(self, written: Value) -> None:
        if self.wanted == 2:
            self.vectors = written & 0xF8
            self.wanted = 4 if self.words & SECOND_IS_NEEDED and self.words & SINGLE else 3
            if self.words & SINGLE and not self.words & SECOND_IS_NEEDED:
                self.wanted = 0
        elif self.wanted == 3:  # where the other controller is, which is known
            self.wanted = 4 if self.words & SECOND_IS_NEEDED else 0
        elif self.wanted == 4:
            self.automatic, self.nested = bool(written & AUTOMATIC), bool(written & NESTED)
            self.wanted = 0
        else:
            self.masked = int(written) & 0xFF
        self.update()

    def trigger(self, levels: int) -> None:
        """Choose the inputs that are level-triggered, a bit each."""
        self.levels = levels
        self.update()


class PicLevels(Device):
    """The registers for edges and levels of ``first`` and ``second`` (EISA specification, ELCR)."""

    kind = "elcr"
    mmio_size = 2
    newer = True
    access = Access(width=1)
    fixed = ("first", "second")

    FIRST = Reg(0, size=1, writable=0xF8)
    SECOND = Reg(1, size=1, writable=0xDE)

    def __init__(self, first: Pic, second: Pic):
        self.first, self.second = first, second
        super().__init__()

    def w_FIRST(self, written: Value) -> None:
        self.first.trigger(self.FIRST)

    def w_SECOND(self, written: Value) -> None:
        self.second.trigger(self.SECOND)
