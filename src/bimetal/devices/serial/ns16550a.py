"""The NS16550A serial port (National Semiconductor PC16550D data sheet, section 8).

Deviations: output leaves at once whatever the baud rate, so the transmitter is always empty;
parity and framing errors do not happen; a break is not sent; FIFO mode takes effect without
clearing the FIFOs.

The far end is patient (`PatientPort`); once the guest has raised RTS, nothing is sent while that
is low.
"""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.base.clock import Clock
from bimetal.devices.chars import Chars
from bimetal.devices.device import Property
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.devices.serial.patient import PatientPort
from bimetal.memory.access import Access

__all__ = ["Ns16550a"]

BYTES = [bytes((number,)) for number in range(256)]
FIFO_SIZE = 16
TRIGGER_LEVELS = (1, 4, 8, 14)
BITS_PER_CHARACTER = 10
TIMEOUT_CHARACTERS = 4

IIR_NONE, IIR_MODEM, IIR_THRE, IIR_DATA, IIR_LINE, IIR_TIMEOUT = 0x1, 0x0, 0x2, 0x4, 0x6, 0xC
IIR_FIFOS = 0xC0
IER_THRE, LCR_DLAB, MCR_LOOP = 0x02, 0x80, 0x10
LSR_DR, LSR_OE, LSR_ERRORS, LSR_THRE_TEMT = 0x01, 0x02, 0x1E, 0x60
MSR_LINES, MSR_DELTAS = 0xB0, 0x0F
"""Outside loopback the far end holds carrier detect, data set ready and clear to send."""


class Ns16550a(PatientPort):
    """A serial port whose line ends in ``chars``; ``input_hz`` is the clock of its divisor."""

    kind, node_name = "uart", "serial"
    compatible = ("ns16550a",)
    mmio_size = 0x100
    access = Access(width=1, lowest=True)
    fixed = ("chars", "clock", "input_hz")
    saved = (
        *PatientPort.kept, "divisor", "rts_used", "thre_pending", "timeout_pending", "_timeout",
    )  # fmt: skip

    RBR = Reg(0, size=1, writable=0, doc="receive, transmit; with DLAB the divisor's low half")
    IER = Reg(1, size=1, writable=0, RDA=0, THRE=1, LINE=2, MODEM=3, doc="with DLAB its high half")
    IIR = Reg(2, size=1, writable=0, reset=IIR_NONE, doc="writing it is writing FCR")
    LCR = Reg(3, size=1, WORD=(1, 0), STOP=2, PARITY=(5, 3), BREAK=6, DLAB=7)
    MCR = Reg(4, size=1, writable=0x1F, DTR=0, RTS=1, OUT1=2, OUT2=3, LOOP=4)
    LSR = Reg(5, size=1, reset=LSR_THRE_TEMT, readonly=True, DR=0, OE=1, THRE=5, TEMT=6)
    MSR = Reg(6, size=1, reset=MSR_LINES, readonly=True, DELTAS=(3, 0), CTS=4, DSR=5, RI=6, DCD=7)
    SCR = Reg(7, size=1, doc="scratch")
    FCR = Reg(0x100, size=1, ENABLE=0, CLEAR_RX=1, CLEAR_TX=2, TRIGGER=(7, 6), doc="reached by IIR")

    irq = Out()

    def __init__(self, chars: Chars, clock: Clock, input_hz: int = 3_686_400):
        self.clock, self.input_hz = clock, input_hz
        self.divisor = 0
        self.rts_used = False
        self.thre_pending = self.timeout_pending = False
        self._timeout = clock.timer(self._time_out)
        super().__init__(chars)

    def properties(self) -> Mapping[str, Property]:
        return {"clock-frequency": self.input_hz}

    def reset(self) -> None:
        super().reset()
        self.divisor = 0
        self.rts_used = False
        self.thre_pending = self.timeout_pending = False
        self._update()

    # The line

    def _listens(self) -> bool:
        return bool(self.IER.RDA)

    def _deaf(self) -> bool:
        return self.rts_used and not self.MCR.RTS

    def _looped(self) -> bool:
        return bool(self.MCR.LOOP)

    def _emptied(self) -> None:
        self.LSR &= ~LSR_DR
        self.timeout_pending = False
        self._timeout.cancel()
        self._update()

    def receive(self, data: bytes) -> None:
        """Take input from the far end; what does not fit is lost, as an overrun: the newest byte
        with FIFOs, the one before it without (8.4)."""
        fits = self._capacity() - len(self.received)
        if self.FCR.ENABLE:
            self.received += data[:fits]
        else:
            self.received[:] = (self.received + data)[-1:]
        self.LSR |= LSR_DR if len(data) <= fits else LSR_DR | LSR_OE
        self.timeout_pending = False
        self._start_timeout()
        self._update()

    # Registers

    def r_RBR(self) -> int:
        if self.LCR.DLAB:
            return self.divisor & 0xFF
        if not self.received:
            self._looked()
        if not self.received:
            return 0 if self.FCR.ENABLE else self.RBR
        self.RBR = byte = self.received.pop(0)
        self.timeout_pending = False
        if not self.received:
            self.LSR &= ~LSR_DR
        self._start_timeout()
        self._update()
        self._let_in()
        return byte

    def w_RBR(self, written: Value) -> None:
        # Consoles print byte by byte, by this and LSR alone: bits instead of fields, for speed.
        if self.LCR & LCR_DLAB:
            self.divisor = self.divisor & 0xFF00 | written
            return
        if self.MCR & MCR_LOOP:
            self.receive(BYTES[written])
        else:
            self.chars.write(BYTES[written])
            self._sent()
        self.thre_pending = True
        if self.IER & IER_THRE:
            self._update()

    def r_IER(self) -> int:
        return self.divisor >> 8 if self.LCR.DLAB else self.IER

    def w_IER(self, written: Value) -> None:
        if self.LCR.DLAB:
            self.divisor = written << 8 | self.divisor & 0xFF
            return
        changed = (written ^ self.IER) & 0x0F
        if not changed:
            return  # which causes no interrupt
        if changed & written & IER_THRE:
            self.thre_pending = True
        self.IER = written & 0x0F
        self._update()
        if written.RDA:
            self._let_in()

    def r_IIR(self) -> int:
        cause = int(self.IIR)
        if cause & 0xF == IIR_THRE:
            self.thre_pending = False
            self._update()
        return cause

    def w_IIR(self, written: Value) -> None:
        """The FIFO control register lies behind the interrupt identification register."""
        control = Ns16550a.FCR.value(written)
        if control.CLEAR_RX or control.ENABLE != self.FCR.ENABLE:
            self._clear()
        self.FCR = written & 0xC9
        self._update()
        self._let_in()

    def w_LCR(self, written: Value) -> None:
        if written.BREAK:
            self.events.unimplemented("sending a break")

    def w_MCR(self, written: Value) -> None:
        lines = MSR_LINES
        if written.LOOP:
            lines = written.RTS << 4 | written.DTR << 5 | written.OUT1 << 6 | written.OUT2 << 7
        changed = (self.MSR ^ lines) >> 4 & 0xF
        rang = self.MSR.RI and not lines & 0x40  # only the trailing edge of RI is noted
        deltas = changed & 0b1011 | (0b0100 if rang else 0)
        self.MSR = lines | self.MSR.DELTAS | deltas
        self._update()
        if not written.LOOP:
            self.rts_used |= bool(written.RTS)
            self._let_in()

    def r_LSR(self) -> int:
        self._looked()
        status = int(self.LSR)
        if status & LSR_ERRORS:
            self.LSR = status & ~LSR_ERRORS
            self._update()
        return status

    def r_MSR(self) -> int:
        status = int(self.MSR)
        if status & MSR_DELTAS:
            self.MSR = status & ~MSR_DELTAS
            self._update()
        return status

    # Interrupts

    def _capacity(self) -> int:
        return FIFO_SIZE if self.FCR.ENABLE else 1

    def _start_timeout(self) -> None:
        """The FIFO holds bytes that are too few to interrupt: do so when none follows soon."""
        if self.received and self.FCR.ENABLE and not self.timeout_pending:
            bits = TIMEOUT_CHARACTERS * BITS_PER_CHARACTER * 16 * max(1, self.divisor)
            self._timeout.arm(self.clock.now_ns() + bits * 1_000_000_000 // self.input_hz)
        else:
            self._timeout.cancel()

    def _time_out(self) -> None:
        self.timeout_pending = True
        self._update()

    def _cause(self) -> int:
        """The pending interrupt of the highest priority, as IIR shows it."""
        enabled = self.IER
        if enabled.LINE and self.LSR & LSR_ERRORS:
            return IIR_LINE
        if enabled.RDA and self.received:
            if not self.FCR.ENABLE or len(self.received) >= TRIGGER_LEVELS[self.FCR.TRIGGER]:
                return IIR_DATA
            if self.timeout_pending:
                return IIR_TIMEOUT
        if enabled.THRE and self.thre_pending:
            return IIR_THRE
        if enabled.MODEM and self.MSR & MSR_DELTAS:
            return IIR_MODEM
        return IIR_NONE

    def _update(self) -> None:
        cause = self._cause()
        self.IIR = cause | (IIR_FIFOS if self.FCR.ENABLE else 0)
        self.irq(cause != IIR_NONE)
