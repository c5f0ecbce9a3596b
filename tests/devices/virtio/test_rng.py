"""The entropy device: virtio 1.2, section 5.4."""

from __future__ import annotations

from bimetal.devices.virtio.rng import VirtioRng
from tests.devices.virtio.guest import DEVICE_ID, Guest, Used


def counting(length: int) -> bytes:
    return bytes(n % 251 for n in range(length))


def test_every_buffer_is_filled() -> None:
    guest = Guest(VirtioRng(counting))
    assert guest.read(DEVICE_ID) == 4
    (ring,) = guest.start()
    first, second = guest.room(16), guest.room(5)
    head = ring.submit(first, second)
    assert ring.completed() == [Used(head, 21)]
    assert guest.peek(first) == counting(16)
    assert guest.peek(second) == counting(5)


def test_a_huge_wish_is_granted_in_part() -> None:
    guest = Guest(VirtioRng(counting))
    (ring,) = guest.start()
    place = guest.room(100_000)
    head = ring.submit(place)
    assert ring.completed() == [Used(head, 65536)]
    assert guest.peek(place)[65536:] == b"\xee" * (100_000 - 65536)


def test_a_buffer_to_read_gets_nothing() -> None:
    guest = Guest(VirtioRng(counting))
    (ring,) = guest.start()
    head = ring.submit(guest.place(b"x"))
    assert ring.completed() == [Used(head, 0)]


def test_the_host_is_the_default_source() -> None:
    guest = Guest(VirtioRng())
    (ring,) = guest.start()
    places = [guest.room(32), guest.room(32)]
    ring.submit(*places)
    assert guest.peek(places[0]) != guest.peek(places[1])
