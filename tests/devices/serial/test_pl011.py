"""The PL011 as drivers talk to it: FIFOs, levels, timeout, interrupts, loopback."""

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.serial.pl011 import Pl011
from tests.devices.serial.test_ns16550a import Terminal

DR, RSR, FR, IBRD, FBRD, LCR_H, CR, IFLS, IMSC, RIS, MIS, ICR, DMACR = (
    0x00, 0x04, 0x18, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40, 0x44, 0x48,
)  # fmt: skip
RX, TX, TIMEOUT, OVERRUN = 1 << 4, 1 << 5, 1 << 6, 1 << 10
FIFOS = 0x70
ON = 0x301


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def uart(terminal: Terminal, clock: VirtualClock) -> Pl011:
    port = Pl011(terminal, clock)
    port.write(CR, 4, ON)
    return port


def raised(uart: Pl011) -> bool:
    return uart.irq.high


def with_fifos(uart: Pl011, level: int = 2) -> None:
    """115200 baud, and the receiver's ``level`` (2 is half full)."""
    uart.write(IBRD, 4, 13)
    uart.write(FBRD, 4, 1)
    uart.write(LCR_H, 4, FIFOS)
    uart.write(IFLS, 4, level << 3)
    uart.write(IMSC, 4, RX | TIMEOUT)


def test_output(uart: Pl011, terminal: Terminal) -> None:
    for byte, size in zip(b"bend", (1, 2, 4, 1), strict=True):
        assert uart.read(FR, 4) == 0x90
        uart.write(DR, size, byte)
    assert terminal.screen == b"bend"


def test_the_transmitter_interrupts_once_it_has_sent(uart: Pl011) -> None:
    uart.write(IMSC, 4, TX)
    assert not raised(uart), "no level was crossed yet"
    uart.write(DR, 4, ord("x"))
    assert raised(uart)
    uart.write(ICR, 4, TX)
    assert not raised(uart)


def test_input_without_fifos(uart: Pl011, terminal: Terminal) -> None:
    uart.write(IMSC, 4, RX)
    terminal.type(b"hi")
    assert raised(uart)
    assert uart.read(FR, 4) == 0xC0
    assert uart.read(DR, 4) == ord("h")
    assert raised(uart), "the next one has come"
    assert uart.read(DR, 4) == ord("i")
    assert not raised(uart)
    assert uart.read(FR, 4) == 0x90
    assert uart.read(DR, 4) == 0


@pytest.mark.parametrize(("level", "count"), [(0, 2), (1, 4), (2, 8), (3, 12), (4, 14)])
def test_the_receiver_interrupts_at_its_level(
    uart: Pl011, terminal: Terminal, level: int, count: int
) -> None:
    with_fifos(uart, level)
    terminal.type(b"x" * (count - 1))
    assert not raised(uart)
    terminal.type(b"y")
    assert raised(uart)
    assert uart.read(MIS, 4) == RX
    uart.read(DR, 4)
    assert not raised(uart)


def test_few_bytes_interrupt_when_no_more_come(
    uart: Pl011, terminal: Terminal, clock: VirtualClock
) -> None:
    with_fifos(uart)
    terminal.type(b"ls")
    clock.advance(32 * 8680 - 2000)
    assert not raised(uart)
    clock.advance(4000)
    assert raised(uart)
    assert uart.read(MIS, 4) & TIMEOUT
    assert uart.read(DR, 4) == ord("l")
    assert uart.read(DR, 4) == ord("s")
    assert uart.read(RIS, 4) == 0
    assert not raised(uart)


def test_what_does_not_fit_waits(uart: Pl011, terminal: Terminal) -> None:
    with_fifos(uart)
    terminal.type(bytes(range(40)))
    assert uart.read(FR, 4) & 0x40
    assert [uart.read(DR, 4) for _ in range(40)] == list(range(40))
    assert uart.read(RIS, 4) & OVERRUN == 0


def test_loopback(uart: Pl011, terminal: Terminal) -> None:
    with_fifos(uart)
    uart.write(CR, 4, ON | 1 << 7 | 1 << 10)
    assert uart.read(FR, 4) & 0x107 == 2, "DTR is DSR"
    assert uart.read(RIS, 4) & 0xF == 8
    terminal.type(b"not heard")
    for byte in range(17):
        uart.write(DR, 4, byte)
    assert terminal.screen == b""
    assert uart.read(RIS, 4) & OVERRUN
    assert uart.read(DR, 4) == 0x800
    assert uart.read(RSR, 4) == 8
    uart.write(RSR, 4, 0)
    assert [uart.read(DR, 4) for _ in range(15)] == list(range(1, 16))
    uart.write(CR, 4, ON)
    assert bytes(uart.read(DR, 4) for _ in range(9)) == b"not heard"


def test_what_is_not_there_is_told(uart: Pl011) -> None:
    uart.write(DMACR, 4, 1)
    uart.write(LCR_H, 4, 0x71)
    assert uart.events.counts == {"not implemented: DMA": 1, "not implemented: sending a break": 1}


def test_reset_and_snapshot(uart: Pl011, terminal: Terminal, clock: VirtualClock) -> None:
    with_fifos(uart)
    terminal.type(b"abc")
    other = Pl011(Terminal(), other_clock := VirtualClock())
    other.load(uart.save())
    other_clock.advance(10**6)
    assert raised(other)
    assert bytes(other.read(DR, 4) for _ in range(3)) == b"abc"
    clock.advance(10**6)
    uart.reset()
    assert not raised(uart)
    assert uart.read(FR, 4) == 0x90
    assert uart.read(CR, 4) == 0x300


def test_what_nobody_has_read_is_taken_back(uart: Pl011, terminal: Terminal) -> None:
    with_fifos(uart, 0)
    terminal.type(b"ab")
    assert raised(uart)
    assert uart.withdraw() == b"ab"
    assert not raised(uart)
    assert uart.read(FR, 4) == 0x90
    assert uart.withdraw() == b""


def test_what_was_typed_ahead_survives_the_start_of_a_driver(
    uart: Pl011, terminal: Terminal
) -> None:
    terminal.type(b"typed ahead")
    uart.reset()  # as by the guest's firmware
    for _ in range(300):  # lines of a console
        for byte in b"booting":
            uart.read(FR, 4)
            uart.write(DR, 4, byte)
        assert not uart.read(FR, 4) & 8, "busy"
    # As Linux does (drivers/tty/serial/amba-pl011.c: pl011_startup, pl011_set_termios).
    uart.write(LCR_H, 4, FIFOS)
    mask = uart.read(IMSC, 4)
    uart.write(IMSC, 4, RX | TIMEOUT)
    uart.write(IMSC, 4, mask)
    while not uart.read(FR, 4) & 0x10:
        uart.read(DR, 4)
    uart.write(IMSC, 4, RX | TIMEOUT)
    uart.write(LCR_H, 4, FIFOS & ~0x10)
    uart.write(LCR_H, 4, FIFOS)
    assert bytes(uart.read(DR, 4) for _ in range(11)) == b"typed ahead"
    assert uart.read(FR, 4) == 0x90


def test_a_reset_loses_nothing_that_was_typed(uart: Pl011, terminal: Terminal) -> None:
    with_fifos(uart)
    terminal.type(b"typed, and more than there is room for")
    uart.reset()
    assert uart.read(FR, 4) == 0x90
    with_fifos(uart)
    assert bytes(uart.read(DR, 4) for _ in range(20)) == b"typed, and more than"
    assert uart.withdraw() == b" there is room f"


def test_a_guest_that_polls_is_sent_input(uart: Pl011, terminal: Terminal) -> None:
    terminal.type(b"hi")
    looks = 0
    while uart.read(FR, 4) & 0x10:
        looks += 1
    assert looks < 100
    assert uart.read(DR, 4) == ord("h")
    assert uart.read(DR, 4) == ord("i")


def test_a_driver_may_mask_and_look_later(uart: Pl011, terminal: Terminal) -> None:
    heard = bytearray()
    with_fifos(uart, 0)
    terminal.type(b"some words, more than fit")
    for _ in range(10):
        while raised(uart):  # its handler does no more than mask, and wake a task
            uart.write(IMSC, 4, 0)
        while not uart.read(FR, 4) & 0x10:
            heard.append(uart.read(DR, 4))
        uart.write(IMSC, 4, RX | TIMEOUT)
    assert heard[:16] == b"some words, more"
