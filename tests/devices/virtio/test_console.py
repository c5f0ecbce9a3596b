"""The console device: virtio 1.2, section 5.3, as a conversation between a person and a guest."""

from __future__ import annotations

from bimetal.backends.chars.ring import Ring as Line
from bimetal.devices.virtio.console import VirtioConsole
from tests.devices.virtio.guest import (
    CONFIG,
    CONFIG_GENERATION,
    DEVICE_ID,
    EVENT_IDX,
    INTERRUPT_ACK,
    INTERRUPT_STATUS,
    NEEDS_RESET,
    STATUS,
    Guest,
    Ring,
    Used,
)

SIZE = 1


def start(features: int = 0, columns: int = 80, rows: int = 25) -> tuple[Line, Guest, Ring, Ring]:
    line = Line()
    guest = Guest(VirtioConsole(line, (columns, rows)))
    receive, transmit = guest.start(features, queues=2)
    return line, guest, receive, transmit


def test_output_reaches_the_line_in_order() -> None:
    line, guest, _, transmit = start()
    assert guest.read(DEVICE_ID) == 3
    head = transmit.submit(guest.place(b"login"), guest.place(b": "))
    assert transmit.completed() == [Used(head, 0)]
    big = bytes(range(256)) * 1000
    transmit.submit(guest.place(big))
    assert line.output == b"login: " + big


def test_input_fills_the_buffers_of_the_driver() -> None:
    line, guest, receive, _ = start()
    first, second = guest.room(4), guest.room(4)
    receive.submit(first)
    receive.submit(second)
    assert receive.completed() == [], "buffers wait for input"
    line.send(b"uname\n")
    assert [used.length for used in receive.completed()] == [4, 2]
    assert guest.peek(first) + guest.peek(second)[:2] == b"uname\n"
    assert guest.irq()


def test_input_waits_for_buffers() -> None:
    line, guest, receive, _ = start(EVENT_IDX)
    line.send(b"hello")
    assert not guest.irq()
    assert receive.avail_event == 0, "the device asks to hear of the first buffer"
    place = guest.room(16)
    receive.submit(place)
    assert guest.peek(place)[:5] == b"hello"
    assert guest.irq()


def test_input_from_before_the_driver_is_kept() -> None:
    line = Line()
    guest = Guest(VirtioConsole(line))
    line.send(b"typed early")
    receive, _ = guest.start(queues=2)
    place = guest.room(16)
    receive.submit(place)
    assert guest.peek(place)[:11] == b"typed early"


def test_a_guest_that_does_not_read_makes_the_sender_wait() -> None:
    line, guest, receive, _ = start()
    sent = sum(line.send(b"x" * 1024) for _ in range(128))
    assert sent < 128 * 1024
    got = 0
    while True:
        receive.submit(guest.room(4096))
        used = receive.completed()
        if not used:
            break
        got += sum(each.length for each in used)
    assert got == sent


def test_a_person_hears_nothing_of_a_broken_driver_but_the_guest_does() -> None:
    line, guest, receive, _ = start()
    receive.submit(guest.place(b"not writable"))
    assert line.send(b"x") == 1
    assert guest.read(STATUS) & NEEDS_RESET
    line.send(b"more")
    assert receive.completed() == []


def test_the_size_of_the_terminal() -> None:
    line, guest, _, _ = start(SIZE, 132, 43)
    assert (guest.read(CONFIG, 2), guest.read(CONFIG + 2, 2)) == (132, 43)
    assert guest.read(CONFIG + 4) == 1, "one port"
    before = guest.read(CONFIG_GENERATION)
    device = guest.slot.device
    assert isinstance(device, VirtioConsole)
    device.resize(100, 50)
    assert guest.read(CONFIG_GENERATION) != before
    assert guest.read(INTERRUPT_STATUS) == 2
    assert (guest.read(CONFIG, 2), guest.read(CONFIG + 2, 2)) == (100, 50)
    guest.write(INTERRUPT_ACK, 2)
    assert not guest.irq()
    assert line.output == b""


def test_a_size_is_offered_where_there_is_a_terminal() -> None:
    assert not Guest(VirtioConsole(Line())).offered & SIZE
    assert Guest(VirtioConsole(Line(), (0, 0))).offered & SIZE, "it may be known later"


def test_an_emergency_write_works_before_any_set_up() -> None:
    line = Line()
    guest = Guest(VirtioConsole(line))
    for byte in b"panic":
        guest.write(CONFIG + 8, byte)
    assert line.output == b"panic"
    guest.write(CONFIG, 1)
    assert line.output == b"panic"


def test_waiting_input_survives_a_snapshot() -> None:
    line, guest, receive, _ = start()
    line.send(b"half a li")
    state = guest.slot.save()
    memory = bytes(guest.ram.bytes)
    other = Line()
    restored = Guest(VirtioConsole(other, (100, 30)))
    restored.ram.bytes[:] = memory
    restored.slot.load(state)
    other.send(b"ne")
    receive.guest = restored
    place = restored.allocate(0x100) + 0x8000, 16, 2
    receive.submit(place)
    assert restored.peek(place)[:11] == b"half a line"
    columns, rows = restored.read(CONFIG, 2), restored.read(CONFIG + 2, 2)
    assert (columns, rows) == (100, 30), "the terminal is another than it was"
