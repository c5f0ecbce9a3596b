"""The PrimeCell UART PL011 (Arm DDI 0183, revision r1p3).

Deviations: output leaves at once, whatever the baud rate and whether or not the UART is enabled, as
guests of QEMU are used to; parity and framing errors do not happen; a break is not sent; there is
no DMA. The receive timeout raises the receive interrupt too, for drivers that wait for that alone.

The far end is patient (`PatientPort`). It also takes back, once, what the guest cannot know of: it
has masked the interrupts of the receiver again without a look at it. Linux does so when its driver
begins, and then throws away what it finds.
"""

from __future__ import annotations

from bimetal.base.clock import Clock
from bimetal.devices.chars import Chars
from bimetal.devices.output import Out
from bimetal.devices.primecell import MaskedCell
from bimetal.devices.register import Reg, Value
from bimetal.devices.serial.patient import PatientPort

__all__ = ["Pl011"]

BYTES = [bytes((number,)) for number in range(256)]
FIFO_SIZE = 16
TIMEOUT_BITS = 32
LEVELS = (2, 4, 8, 12, 14)
"""Bytes in the receiver from which on it interrupts, by UARTIFLS."""

INT_MODEM, INT_RX, INT_TX, INT_TIMEOUT, INT_OVERRUN = 0xF, 1 << 4, 1 << 5, 1 << 6, 1 << 10
INTERRUPTS = 0x7FF
FR_RXFE, FR_RXFF, FR_TXFE = 1 << 4, 1 << 6, 1 << 7
CR_LOOP = 1 << 7
OVERRUN = 1 << 11
"""Of a character in UARTDR: others were lost behind it."""


class Pl011(PatientPort, MaskedCell):
    """A serial port whose line ends in ``chars``; ``input_hz`` is the clock of its divisor."""

    kind = "uart"
    node_name = "pl011"
    compatible = ("arm,pl011", "arm,primecell")
    acpi = ("ARMH0011", "COM")
    peripheral_id, revision = 0x011, 1
    fixed = ("chars", "clock", "input_hz")
    saved = (
        *PatientPort.kept, "unnoticed", "taken_back", "overrun", "raised", "modem", "_timeout",
    )  # fmt: skip

    DR = Reg(0x00, writable=0, DATA=(7, 0), ERRORS=(11, 8), doc="receive, transmit")
    FR = Reg(0x18, readonly=True, CTS=0, DSR=1, DCD=2, BUSY=3, RXFE=4, TXFF=5, RXFF=6, TXFE=7, RI=8)
    RSR = Reg(0x04, writable=0, doc="errors of the character read last; writing clears them")
    ILPR = Reg(0x20, writable=0xFF, doc="infrared is not there")
    IBRD = Reg(0x24, writable=0xFFFF)
    FBRD = Reg(0x28, writable=0x3F)
    LCR_H = Reg(0x2C, writable=0xFF, BRK=0, FEN=4)
    CR = Reg(0x30, writable=0xFF87, reset=0x300, UARTEN=0, LBE=7, TXE=8, RXE=9, MODEM=(13, 10))
    IFLS = Reg(0x34, writable=0x3F, reset=0x12, TX=(2, 0), RX=(5, 3))
    IMSC = Reg(0x38, writable=INTERRUPTS)
    RIS = Reg(0x3C, readonly=True)
    MIS = Reg(0x40, readonly=True)
    ICR = Reg(0x44, writable=0)
    DMACR = Reg(0x48, writable=0x7)

    irq = Out()

    def __init__(self, chars: Chars, clock: Clock, input_hz: int = 24_000_000):
        self.clock, self.input_hz = clock, input_hz
        self.unnoticed = self.taken_back = False
        self.overrun = False
        self.raised = self.modem = 0
        self._timeout = clock.timer(self._time_out)
        super().__init__(chars)

    def reset(self) -> None:
        super().reset()
        self.unnoticed = self.taken_back = False
        self.overrun = False
        self.raised = self.modem = 0

    # The line

    def _listens(self) -> bool:
        return bool(self.IMSC & (INT_RX | INT_TIMEOUT))

    def _deaf(self) -> bool:
        return False

    def _looped(self) -> bool:
        return bool(self.CR & CR_LOOP)

    def _emptied(self) -> None:
        self.raised &= ~(INT_RX | INT_TIMEOUT)
        self._timeout.cancel()
        self._update()

    def receive(self, data: bytes) -> None:
        """Take input from the far end; what does not fit is lost, as an overrun (3.3.2)."""
        self.unnoticed = True
        fits = self._capacity() - len(self.received)
        self.received += data[:fits]
        if len(data) > fits:
            self.overrun = True
            self.raised |= INT_OVERRUN
        if len(self.received) >= self._level():
            self.raised |= INT_RX
        self._start_timeout()
        self._update()

    # Registers

    def r_DR(self) -> int:
        self.unnoticed = False
        if not self.received:
            self._looked()
        if not self.received:
            return 0
        byte, lost = self.received.pop(0), OVERRUN if self.overrun else 0
        self.overrun = False
        self.RSR = lost >> 8
        if len(self.received) < self._level():
            self.raised &= ~INT_RX
        if not self.received:
            self.raised &= ~INT_TIMEOUT
            self._timeout.cancel()
        self._update()
        self._let_in()
        return byte | lost

    def w_DR(self, written: Value) -> None:
        if self.CR & CR_LOOP:
            self.receive(BYTES[written & 0xFF])
        else:
            self.chars.write(BYTES[written & 0xFF])
            self._sent()
        self.raised |= INT_TX  # the transmitter went below its level at once
        if self.IMSC & INT_TX:
            self._update()

    def w_RSR(self, written: Value) -> None:
        self.RSR = 0

    def r_FR(self) -> int:
        self.unnoticed = False
        flags = FR_TXFE | self.modem
        if not self.received:
            self._looked()
        if not self.received:
            return flags | FR_RXFE
        return flags | (FR_RXFF if len(self.received) >= self._capacity() else 0)

    def w_LCR_H(self, written: Value) -> None:
        if written.BRK:
            self.events.unimplemented("sending a break")
        if len(self.received) > self._capacity():
            self._clear()
        self._start_timeout()
        self._let_in()

    def w_CR(self, written: Value) -> None:
        """In loopback the outputs RTS, DTR, OUT1 and OUT2 are the inputs CTS, DSR, DCD and RI
        (3.3.8); otherwise nobody drives these."""
        dtr, rts, out1, out2 = (written.MODEM >> n & 1 for n in range(4))
        looped = rts | dtr << 1 | out1 << 2 | out2 << 8
        before, self.modem = self.modem, looped if written.LBE else 0
        changed = before ^ self.modem
        # RI, CTS, DCD, DSR, as the interrupts are numbered.
        self.raised |= sum((changed >> bit & 1) << n for n, bit in enumerate((8, 0, 2, 1)))
        self._update()
        self._let_in()

    def w_IMSC(self, written: Value) -> None:
        super().w_IMSC(written)
        if self.unnoticed and not (self.taken_back or self._listens() or self._looped()):
            self.taken_back = True
            self._clear()
        self._let_in()

    def r_RIS(self) -> int:
        self.unnoticed = False
        return super().r_RIS()

    def r_MIS(self) -> int:
        self.unnoticed = False
        return super().r_MIS()

    def w_DMACR(self, written: Value) -> None:
        if written & 7:
            self.events.unimplemented("DMA")

    # Interrupts

    def _capacity(self) -> int:
        return FIFO_SIZE if self.LCR_H.FEN else 1

    def _level(self) -> int:
        return LEVELS[min(self.IFLS.RX, len(LEVELS) - 1)] if self.LCR_H.FEN else 1

    def _start_timeout(self) -> None:
        """The FIFO holds bytes that are too few to interrupt: do so when none follows soon."""
        if not self.received or not self.LCR_H.FEN:
            self._timeout.cancel()
            return
        sixteenths = 16 * TIMEOUT_BITS * max(64, self.IBRD << 6 | self.FBRD)
        self._timeout.arm(self.clock.now_ns() + sixteenths * 1_000_000_000 // 64 // self.input_hz)

    def _time_out(self) -> None:
        self.raised |= INT_TIMEOUT | INT_RX
        self._update()

    def _update(self) -> None:
        self.irq(bool(self.raised & self.IMSC))
