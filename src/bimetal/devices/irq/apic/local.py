"""A local APIC: what a CPU is interrupted by, and interrupts others by (SDM volume 3, "Advanced
Programmable Interrupt Controller").

Its registers are those of x2APIC mode, model-specific registers of the CPU; `ApicWindow` shows them
in memory, as those of xAPIC mode. One register more, `ACKNOWLEDGE`, is what a processor and its
local APIC settle between them: which interrupt it takes now.
"""

from __future__ import annotations

from bimetal.base.clock import Clock
from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.interrupts import EVERYBODY, Delivery, Interrupt
from bimetal.devices.irq.apic.timer import ApicTimer
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access

__all__ = ["ACKNOWLEDGE", "ADDRESS", "ENABLED", "LocalApic"]

ADDRESS = 0xFEE0_0000
"""Where its registers are in memory after a reset."""
X2APIC = 0x800
"""The number of the first model-specific register in x2APIC mode."""
ACKNOWLEDGE = 0x1000
"""The number of the register whose reading takes an interrupt: its vector and bit 8, or 0."""
TAKEN = 1 << 8

BOOT_CPU, EXTENDED, ENABLED = 1 << 8, 1 << 10, 1 << 11
BASE_BITS = EXTENDED | ENABLED | ((1 << 40) - 1 & ~0xFFF)
VERSION = 0x14 | 6 << 16 | 1 << 24
"""An integrated APIC with seven local vectors that may leave ends of interrupts untold."""
MASKED = 1 << 16
SOFTWARE_ENABLED, UNTOLD = 1 << 8, 1 << 12
PERIODIC, DEADLINE = 1, 2
ILLEGAL_VECTOR_SENT, ILLEGAL_VECTOR_RECEIVED, ILLEGAL_REGISTER = 1 << 5, 1 << 6, 1 << 7
FIRST_VECTOR = 16
FLAT = 0xFFFF_FFFF
LOGICAL, ASSERT, TRIGGER = 1 << 11, 1 << 14, 1 << 15
NOBODY_SAID, SELF, ALL, OTHERS = range(4)


def at(register: int) -> int:
    """The offset of a register by its number in x2APIC mode."""
    return 8 * (X2APIC + register)


class LocalApic(Device):
    """The local APIC of CPU ``number``, one of those on ``bus``.

    ``intr`` is the CPU's interrupt line. What the interrupt controllers of a PC send arrives at
    `legacy`, and `ApicBus.legacy` is asked for the vector.
    """

    kind = "lapic"
    mmio_size = 8 * (ACKNOWLEDGE + 1)
    access = Access(sizes=(8,))
    saved = ("requested", "serviced", "levels", "errors", "timer", "_legacy")
    newer = True
    fixed = ("bus", "number")

    TAKE = Reg(8 * ACKNOWLEDGE, 8, readonly=True, doc="takes an interrupt")
    END = Reg(at(0x0B), 8, writable=0, doc="end of interrupt")
    DEADLINE = Reg(8 * 0x6E0, 8, writable=0, doc="IA32_TSC_DEADLINE, in nanoseconds")
    COMMAND = Reg(at(0x30), 8, doc="interrupt command")
    TASK = Reg(at(0x08), 8, writable=0xFF, doc="task priority")
    BASE = Reg(8 * 0x1B, 8, writable=BASE_BITS, doc="IA32_APIC_BASE")
    ID = Reg(at(0x02), 8, readonly=True)
    VERSION = Reg(at(0x03), 8, readonly=True, reset=VERSION)
    ARBITRATION = Reg(at(0x09), 8, readonly=True)
    PROCESSOR = Reg(at(0x0A), 8, readonly=True, doc="processor priority")
    READ = Reg(at(0x0C), 8, readonly=True, doc="remote read")
    NAMES = Reg(at(0x0D), 8, writable=0xFF00_0000, doc="logical destination")
    FORMAT = Reg(at(0x0E), 8, writable=0xF000_0000, reset=FLAT, doc="destination format")
    SPURIOUS = Reg(at(0x0F), 8, writable=0x13FF, reset=0xFF, doc="spurious vector, enable")
    SERVICED = RegArray(at(0x10), 8, size=8, readonly=True)
    LEVELS = RegArray(at(0x18), 8, size=8, readonly=True, doc="which are level-triggered")
    REQUESTED = RegArray(at(0x20), 8, size=8, readonly=True)
    ERRORS = Reg(at(0x28), 8, writable=0)
    CORRECTED = Reg(at(0x2F), 8, writable=0x1_07FF, reset=MASKED, doc="machine checks' vector")
    TIMER = Reg(at(0x32), 8, writable=0x7_00FF, reset=MASKED, doc="the timer's vector")
    THERMAL = Reg(at(0x33), 8, writable=0x1_07FF, reset=MASKED)
    MONITORS = Reg(at(0x34), 8, writable=0x1_07FF, reset=MASKED, doc="performance monitors")
    PINS = RegArray(at(0x35), 2, size=8, writable=0x1_A7FF, reset=MASKED, doc="local pins")
    ERROR_VECTOR = Reg(at(0x37), 8, writable=0x1_00FF, reset=MASKED)
    INITIAL = Reg(at(0x38), 8, writable=0xFFFF_FFFF, doc="the timer's initial count")
    CURRENT = Reg(at(0x39), 8, readonly=True, doc="the timer's current count")
    DIVIDE = Reg(at(0x3E), 8, writable=0xB)
    ITSELF = Reg(at(0x3F), 8, writable=0, doc="interrupts this CPU")

    intr = Out()

    def __init__(self, number: int, bus: ApicBus, clock: Clock):
        self.bus, self.number = bus, number
        self.requested = self.serviced = self.levels = self.errors = 0
        self.timer = ApicTimer(clock, self._expired)
        self._legacy = False
        super().__init__()
        bus.add(self)
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.BASE = ADDRESS | ENABLED | (BOOT_CPU if self.number == 0 else 0)
        self._forget()
        self.update()

    def initialise(self) -> None:
        """Go to the state after an INIT: all is reset but where it is and that it is enabled."""
        base = int(self.BASE)
        super().reset()
        self.BASE = base
        self._forget()
        self.update()

    def _forget(self) -> None:
        self.requested = self.serviced = self.levels = self.errors = 0
        self.ID = self.number
        self.NAMES = self._own_names if self.extended else 0
        self.timer.reset()

    # What it looks like to others

    @property
    def enabled(self) -> bool:
        """Whether it takes interrupts at all."""
        return bool(self.values["BASE"] & ENABLED and self.values["SPURIOUS"] & SOFTWARE_ENABLED)

    @property
    def extended(self) -> bool:
        """Whether it is in x2APIC mode."""
        return self.values["BASE"] & (ENABLED | EXTENDED) == ENABLED | EXTENDED

    @property
    def _own_names(self) -> int:
        return self.number >> 4 << 16 | 1 << (self.number & 15)

    @property
    def priority(self) -> int:
        """The processor priority."""
        task, served = self.values["TASK"], max(self.serviced.bit_length() - 1, 0)
        return int(task) if task >> 4 >= served >> 4 else served & 0xF0

    def is_meant(self, destination: int, logical: bool) -> bool:
        """Whether it is among the destinations of an interrupt."""
        if destination == EVERYBODY:
            return True
        if not logical:
            return destination == self.number
        names = int(self.values["NAMES"])
        if self.extended:
            return destination >> 16 == names >> 16 and bool(destination & names & 0xFFFF)
        names >>= 24
        if self.values["FORMAT"] == FLAT:
            return bool(names & destination)
        return names >> 4 == destination >> 4 and bool(names & destination & 0xF)

    def receive(self, interrupt: Interrupt) -> None:
        """An interrupt for this CPU has arrived."""
        delivery = interrupt.delivery
        if delivery in (Delivery.FIXED, Delivery.LOWEST):
            self._request(interrupt.vector, interrupt.level)
        elif delivery == Delivery.NMI:
            self.bus.processors.nmi(self.number)
        elif delivery == Delivery.INIT:
            self.initialise()
            self.bus.processors.init(self.number)
        elif delivery == Delivery.START:
            self.bus.processors.start(self.number, interrupt.vector)
        else:
            self.events.unimplemented(f"interrupts of delivery mode {delivery}")

    def legacy(self, level: bool) -> None:
        """The level of the interrupt controllers of a PC, at local pin 0."""
        self._legacy = level
        pin = self.PINS[0]
        if level and pin & MASKED == 0 and pin >> 8 & 7 == Delivery.FIXED and self.enabled:
            self._request(pin & 0xFF, bool(pin & TRIGGER))
        self.update()

    def update(self) -> None:
        """Drive the CPU's interrupt line."""
        level = self._ready() is not None or self._legacy_ready()
        if level != self.intr.high:
            self.intr(level)

    def _ready(self) -> int | None:
        """The vector that the CPU would take now."""
        best = self.requested.bit_length() - 1
        if best < 0 or not self.enabled or best >> 4 <= self.priority >> 4:
            return None
        return best

    def _legacy_ready(self) -> bool:
        """Whether the CPU would take an interrupt of the PC's controllers."""
        if not self._legacy:
            return False
        pin = self.PINS[0]
        passes = pin & MASKED == 0 and pin >> 8 & 7 == Delivery.EXTERNAL
        return passes or not self.values["BASE"] & ENABLED

    def _request(self, vector: int, level: bool) -> None:
        if vector < FIRST_VECTOR:
            self._error(ILLEGAL_VECTOR_RECEIVED)
            return
        if not self.enabled:
            return
        self.requested |= 1 << vector
        self.levels = self.levels & ~(1 << vector) | int(level) << vector
        self.update()

    def _error(self, kind: int) -> None:
        self.errors |= kind
        self._local(self.ERROR_VECTOR & ~0x700)

    def _local(self, entry: int) -> None:
        """An interrupt of this APIC's own, as one of its local vectors says."""
        vector, delivery = entry & 0xFF, entry >> 8 & 7
        if entry & MASKED:
            return
        if delivery == Delivery.FIXED and vector < FIRST_VECTOR:
            self.errors |= ILLEGAL_VECTOR_RECEIVED
            return
        self.receive(Interrupt(vector, delivery))

    def _expired(self) -> None:
        self._local(self.TIMER & ~0x700)

    # Registers

    def r_TAKE(self) -> int:
        vector = self._ready()
        if vector is not None:
            self.requested &= ~(1 << vector)
            self.serviced |= 1 << vector
        elif self._legacy_ready() and self.bus.legacy is not None:
            vector = self.bus.legacy.acknowledge()
        self.update()
        return 0 if vector is None else TAKEN | vector

    def w_END(self, written: Value) -> None:
        vector = self.serviced.bit_length() - 1
        if vector < 0:
            return
        self.serviced &= ~(1 << vector)
        self.update()
        if self.levels >> vector & 1 and not self.SPURIOUS & UNTOLD:
            self.bus.end(vector)

    def w_BASE(self, written: Value) -> None:
        self.BASE |= BOOT_CPU if self.number == 0 else 0
        if not written & ENABLED:
            self._forget()
        elif self.extended:
            self.NAMES = self._own_names
        self.update()

    def r_PROCESSOR(self) -> int:
        return self.priority

    def r_SERVICED(self, index: int) -> int:
        return self.serviced >> 32 * index & 0xFFFF_FFFF

    def r_LEVELS(self, index: int) -> int:
        return self.levels >> 32 * index & 0xFFFF_FFFF

    def r_REQUESTED(self, index: int) -> int:
        return self.requested >> 32 * index & 0xFFFF_FFFF

    def w_TASK(self, written: Value) -> None:
        self.update()

    def w_NAMES(self, written: Value) -> None:
        if self.extended:
            self.NAMES = self._own_names
            raise GuestError("the logical destination is fixed in x2APIC mode")

    def w_FORMAT(self, written: Value) -> None:
        self.FORMAT |= 0xFFF_FFFF

    def w_SPURIOUS(self, written: Value) -> None:
        if not written & SOFTWARE_ENABLED:  # which masks all local vectors (state after reset)
            for name in ("CORRECTED", "TIMER", "THERMAL", "MONITORS", "ERROR_VECTOR"):
                self.values[name] = Value(self.values[name] | MASKED)
            self.PINS[:] = [pin | MASKED for pin in self.PINS]
        self.update()

    def w_ERRORS(self, written: Value) -> None:
        self.ERRORS, self.errors = self.errors, 0

    def w_PINS(self, index: int, written: Value) -> None:
        self._mask_if_disabled("PINS", index)
        self.update()

    def w_TIMER(self, written: Value) -> None:
        self._mask_if_disabled("TIMER")
        mode = self.TIMER >> 17 & 3
        self.timer.choose(waits=mode == DEADLINE, periodic=mode == PERIODIC)

    def w_CORRECTED(self, written: Value) -> None:
        self._mask_if_disabled("CORRECTED")

    def w_THERMAL(self, written: Value) -> None:
        self._mask_if_disabled("THERMAL")

    def w_MONITORS(self, written: Value) -> None:
        self._mask_if_disabled("MONITORS")

    def w_ERROR_VECTOR(self, written: Value) -> None:
        self._mask_if_disabled("ERROR_VECTOR")

    def _mask_if_disabled(self, name: str, index: int | None = None) -> None:
        if self.SPURIOUS & SOFTWARE_ENABLED:
            return
        if index is None:
            self.values[name] = Value(self.values[name] | MASKED)
        else:
            self.arrays[name][index] |= MASKED

    def w_INITIAL(self, written: Value) -> None:
        self.timer.start(self.INITIAL)

    def r_CURRENT(self) -> int:
        return self.timer.left()

    def w_DIVIDE(self, written: Value) -> None:
        code = written & 3 | written >> 1 & 4
        self.timer.divide(1 << (code + 1 & 7))

    def r_DEADLINE(self) -> int:
        return self.timer.deadline

    def w_DEADLINE(self, written: Value) -> None:
        self.timer.wait(written)

    def w_ITSELF(self, written: Value) -> None:
        self._send(Interrupt(written & 0xFF, destination=self.number), SELF)

    def w_COMMAND(self, written: Value) -> None:
        high = written >> 32
        if not self.extended:
            high = EVERYBODY if high >> 24 == 0xFF else high >> 24
        delivery = written >> 8 & 7
        if delivery == Delivery.INIT and not written & ASSERT:
            return  # older processors synchronised their arbitration by it
        logical = bool(written & LOGICAL)
        self._send(Interrupt(written & 0xFF, delivery, high, logical), written >> 18 & 3)

    def _send(self, interrupt: Interrupt, whom: int) -> None:
        fixed = interrupt.delivery in (Delivery.FIXED, Delivery.LOWEST)
        if fixed and interrupt.vector < FIRST_VECTOR:
            self._error(ILLEGAL_VECTOR_SENT)
        elif whom == SELF:
            self.receive(interrupt)
        elif whom == NOBODY_SAID:
            self.bus.send(interrupt)
        else:
            self.bus.broadcast(interrupt, None if whom == ALL else self)

    # In memory

    def look(self, register: int) -> int:
        """What the register of a number has in xAPIC mode."""
        if register == 0x02:
            return self.number << 24
        if register == 0x31:
            return self.COMMAND >> 32
        return self.read(at(register), 8) & 0xFFFF_FFFF

    def change(self, register: int, value: int) -> None:
        """Write the register of a number in xAPIC mode."""
        if register == 0x31:
            self.COMMAND = self.COMMAND & 0xFFFF_FFFF | value << 32
        elif register == 0x30:
            self.write(at(register), 8, self.COMMAND >> 32 << 32 | value)
        elif register != 0x3F:
            self.write(at(register), 8, value)
