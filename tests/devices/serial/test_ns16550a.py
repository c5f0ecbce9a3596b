"""The serial port as drivers talk to it: FIFOs, interrupts, divisor, loopback."""

from collections.abc import Callable

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.serial.ns16550a import Ns16550a

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7
NONE, MODEM, THRE, DATA, LINE, TIMEOUT = 0x1, 0x0, 0x2, 0x4, 0x6, 0xC


class Terminal:
    """The far end of the line."""

    def __init__(self) -> None:
        self.screen = b""
        self.typed = b""

    def write(self, data: bytes) -> None:
        self.screen += data

    def connect(
        self, receive: Callable[[bytes], None], room: Callable[[], int] | None = None
    ) -> None:
        assert room is not None
        self.receive, self.room = receive, room

    def type(self, data: bytes) -> None:
        self.typed += data
        self.resume()

    def resume(self) -> None:
        while self.typed and (count := self.room()):
            chunk, self.typed = self.typed[:count], self.typed[count:]
            self.receive(chunk)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def uart(terminal: Terminal, clock: VirtualClock) -> Ns16550a:
    return Ns16550a(terminal, clock)


def raised(uart: Ns16550a) -> bool:
    return uart.irq.high


def cause(uart: Ns16550a) -> int:
    return uart.read(IIR, 1) & 0x0F


def test_after_power_on(uart: Ns16550a) -> None:
    table = {RBR: 0, IER: 0, IIR: 1, LCR: 0, MCR: 0, LSR: 0x60, MSR: 0xB0, SCR: 0}
    assert {register: uart.read(register, 1) for register in table} == table
    assert not raised(uart)


def test_output(uart: Ns16550a, terminal: Terminal) -> None:
    for byte in b"bend":
        assert uart.read(LSR, 1) & 0x20
        uart.write(THR, 1, byte)
    assert terminal.screen == b"bend"


def test_the_divisor_hides_behind_dlab(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(LCR, 1, 0x83)
    uart.write(DLL, 1, 0x34)
    uart.write(DLM, 1, 0x12)
    assert (uart.read(DLL, 1), uart.read(DLM, 1)) == (0x34, 0x12)
    uart.write(LCR, 1, 0x03)
    assert (uart.read(RBR, 1), uart.read(IER, 1)) == (0, 0)
    assert uart.divisor == 0x1234
    assert terminal.screen == b""


def test_the_scratch_register_keeps_a_byte(uart: Ns16550a) -> None:
    uart.write(SCR, 1, 0xA5)
    assert uart.read(SCR, 1) == 0xA5


def test_the_empty_transmitter_interrupts_until_it_is_identified(uart: Ns16550a) -> None:
    uart.write(IER, 1, 0x02)
    assert raised(uart)
    assert cause(uart) == THRE
    assert not raised(uart)
    assert cause(uart) == NONE
    uart.write(THR, 1, 0x41)
    assert cause(uart) == THRE
    uart.write(IER, 1, 0x00)
    uart.write(IER, 1, 0x02)
    assert cause(uart) == THRE


def test_without_fifos_one_byte_interrupts_and_the_line_waits(
    uart: Ns16550a, terminal: Terminal
) -> None:
    uart.write(IER, 1, 0x01)
    terminal.type(b"hi")
    assert raised(uart)
    assert cause(uart) == DATA
    assert uart.read(LSR, 1) & 1
    assert terminal.typed == b"i"
    assert uart.read(RBR, 1) == ord("h")
    assert uart.read(RBR, 1) == ord("i")
    assert not uart.read(LSR, 1) & 1
    assert not raised(uart)


def test_fifos_interrupt_at_their_trigger_level(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(FCR, 1, 0x81)
    uart.write(IER, 1, 0x01)
    assert uart.read(IIR, 1) == 0xC1
    terminal.type(b"1234567")
    assert not raised(uart)
    terminal.type(b"8")
    assert cause(uart) == DATA
    assert uart.read(RBR, 1) == ord("1")
    assert not raised(uart)


def test_a_few_bytes_interrupt_after_four_character_times(
    uart: Ns16550a, terminal: Terminal, clock: VirtualClock
) -> None:
    uart.write(LCR, 1, 0x83)
    uart.write(DLL, 1, 2)  # 115200 baud
    uart.write(LCR, 1, 0x03)
    uart.write(FCR, 1, 0xC1)
    uart.write(IER, 1, 0x01)
    terminal.type(b"ab")
    clock.advance(300_000)
    assert not raised(uart)
    terminal.type(b"c")
    clock.advance(340_000)
    assert not raised(uart)
    clock.advance(10_000)
    assert raised(uart)
    assert uart.read(IIR, 1) == 0xC0 | TIMEOUT
    assert uart.read(RBR, 1) == ord("a")
    assert cause(uart) == NONE
    clock.advance(350_000)
    assert cause(uart) == TIMEOUT
    assert bytes(uart.read(RBR, 1) for _ in range(2)) == b"bc"
    assert not raised(uart)
    assert clock.next_deadline() is None


def test_a_full_fifo_holds_the_sender_and_loses_nothing(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(IER, 1, 0x01)
    uart.write(FCR, 1, 0x01)
    text = bytes(range(40))
    terminal.type(text)
    assert len(terminal.typed) == 24
    assert bytes(uart.read(RBR, 1) for _ in range(40)) == text
    assert uart.read(LSR, 1) == 0x60


def test_a_sender_that_does_not_ask_overruns(uart: Ns16550a) -> None:
    uart.write(FCR, 1, 0x01)
    uart.write(IER, 1, 0x04)
    uart.receive(bytes(20))
    assert cause(uart) == LINE
    assert uart.read(LSR, 1) == 0x63
    assert uart.read(LSR, 1) == 0x61
    assert not raised(uart)


def test_without_fifos_the_newest_byte_stays(uart: Ns16550a) -> None:
    uart.receive(b"a")
    uart.receive(b"bc")
    assert uart.read(LSR, 1) == 0x63
    assert uart.read(RBR, 1) == ord("c")
    assert uart.read(LSR, 1) == 0x60
    assert uart.read(RBR, 1) == ord("c"), "the register holds it until the next one comes"


def test_enabling_the_transmitters_interrupt_again_causes_none(uart: Ns16550a) -> None:
    uart.write(IER, 1, 0x02)
    assert cause(uart) == THRE
    uart.write(IER, 1, 0x02)
    assert not raised(uart), "nothing has changed"
    uart.write(IER, 1, 0x00)
    uart.write(IER, 1, 0x02)
    assert raised(uart)


def test_the_far_end_waits_for_a_guest_that_listens(uart: Ns16550a, terminal: Terminal) -> None:
    terminal.type(b"hi")
    for (
        byte
    ) in b"a long greeting, byte by byte, as consoles print it before they listen to anybody":
        assert uart.read(LSR, 1) == 0x60
        uart.write(THR, 1, byte)
    assert terminal.typed == b"hi"
    uart.write(IER, 1, 0x01)
    assert cause(uart) == DATA
    assert terminal.typed == b"i"


def test_a_guest_that_polls_between_bytes_of_output_listens_too(
    uart: Ns16550a, terminal: Terminal
) -> None:
    terminal.type(b"k")
    for _ in range(2000):
        if uart.read(LSR, 1) & 1:
            return
        assert uart.read(LSR, 1) & 0x20
        uart.write(THR, 1, ord("."))
    raise AssertionError("it was never sent anything")


def test_a_guest_that_polls_listens_too(uart: Ns16550a, terminal: Terminal) -> None:
    terminal.type(b"hi")
    looks = 0
    while not uart.read(LSR, 1) & 1:
        looks += 1
    assert looks < 100
    assert bytes(uart.read(RBR, 1) for _ in range(2)) == b"hi"
    terminal.type(b"!")
    uart.write(THR, 1, ord("?"))
    assert uart.read(LSR, 1) & 1
    assert uart.read(RBR, 1) == ord("!")


def test_a_guest_that_reads_without_asking_listens_too(uart: Ns16550a, terminal: Terminal) -> None:
    terminal.type(b"k")
    assert any(uart.read(RBR, 1) == ord("k") for _ in range(100))


def test_what_a_driver_clears_at_its_start_is_sent_again(
    uart: Ns16550a, terminal: Terminal
) -> None:
    terminal.type(b"typed ahead")
    while not uart.received:  # it looks for room to send a little too often
        uart.read(LSR, 1)
    # As Linux does (drivers/tty/serial/8250/8250_port.c, serial8250_do_startup).
    for control in (0x01, 0x07, 0x00):
        uart.write(FCR, 1, control)
    for register in (LSR, RBR, IIR, MSR):
        uart.read(register, 1)
    uart.write(IER, 1, 0x05)
    uart.write(FCR, 1, 0x01)
    assert bytes(uart.read(RBR, 1) for _ in range(11)) == b"typed ahead"
    assert uart.read(LSR, 1) == 0x60


def test_a_reset_loses_nothing_that_was_typed(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(FCR, 1, 0x01)
    uart.write(IER, 1, 0x01)
    terminal.type(b"typed")
    uart.reset()
    assert uart.read(LSR, 1) == 0x60
    uart.write(IER, 1, 0x01)
    assert uart.read(RBR, 1) == ord("t")
    assert uart.withdraw() == b"yped"


def test_a_guest_that_lowers_rts_is_sent_nothing(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(IER, 1, 0x01)
    terminal.type(b"a")
    assert uart.read(RBR, 1) == ord("a"), "it has never raised it: it does not know of it"
    uart.write(MCR, 1, 0x02)
    uart.write(MCR, 1, 0x00)
    terminal.type(b"bc")
    assert not uart.read(LSR, 1) & 1
    uart.write(MCR, 1, 0x02)
    assert bytes(uart.read(RBR, 1) for _ in range(2)) == b"bc"


def test_what_nobody_has_read_is_taken_back(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(IER, 1, 1)
    terminal.type(b"ab")
    assert raised(uart)
    assert uart.withdraw() == b"a"
    assert not raised(uart)
    assert uart.read(LSR, 1) == 0x60
    assert uart.withdraw() == b""
    terminal.resume()
    assert uart.read(RBR, 1) == ord("b")


def test_loopback(uart: Ns16550a, terminal: Terminal) -> None:
    uart.write(IER, 1, 0x01)
    uart.read(MSR, 1)
    uart.write(MCR, 1, 0x1A)  # LOOP, OUT2, RTS
    assert uart.read(MSR, 1) & 0xF0 == 0x90
    terminal.type(b"outside")
    uart.write(THR, 1, ord("x"))
    assert uart.read(RBR, 1) == ord("x")
    assert terminal.screen == b""
    uart.write(MCR, 1, 0x02)
    assert uart.read(RBR, 1) == ord("o")


def test_modem_lines_tell_what_changed(uart: Ns16550a) -> None:
    uart.write(IER, 1, 0x08)
    uart.write(MCR, 1, 0x10)
    assert raised(uart)
    assert cause(uart) == MODEM
    assert uart.read(MSR, 1) == 0x0B
    assert uart.read(MSR, 1) == 0x00
    assert not raised(uart)
    uart.write(MCR, 1, 0x14)
    assert uart.read(MSR, 1) == 0x40
    uart.write(MCR, 1, 0x10)
    assert uart.read(MSR, 1) == 0x04


def test_priorities(uart: Ns16550a) -> None:
    uart.write(IER, 1, 0x0F)
    uart.write(MCR, 1, 0x10)
    uart.receive(b"ab")
    assert cause(uart) == LINE
    uart.read(LSR, 1)
    assert cause(uart) == DATA
    uart.read(RBR, 1)
    assert cause(uart) == THRE
    assert cause(uart) == MODEM
    uart.read(MSR, 1)
    assert cause(uart) == NONE


def test_linux_finds_a_16550a(uart: Ns16550a) -> None:
    uart.write(FCR, 1, 0x01)
    assert uart.read(IIR, 1) >> 6 == 3
    uart.write(FCR, 1, 0x00)
    assert uart.read(IIR, 1) >> 6 == 0


def test_a_snapshot_keeps_what_was_typed(
    uart: Ns16550a, terminal: Terminal, clock: VirtualClock
) -> None:
    uart.write(FCR, 1, 0x41)
    uart.write(IER, 1, 0x01)
    terminal.type(b"ab")
    other = Ns16550a(Terminal(), clock)
    other.load(uart.save())
    clock.advance(1_000_000)
    assert cause(other) == TIMEOUT
    assert bytes(other.read(RBR, 1) for _ in range(2)) == b"ab"


def test_a_missing_break_says_so(uart: Ns16550a) -> None:
    uart.write(LCR, 1, 0x40)
    assert uart.events.counts == {"not implemented: sending a break": 1}
