"""The NIC: virtio 1.2, section 5.1, as a conversation between a network and a driver."""

from __future__ import annotations

import struct

import pytest

from bimetal.base.frames import NEEDS_CHECKSUM, PLAIN, Offload, Offloads, Port, Segmentation
from bimetal.devices.virtio.net import VirtioNet
from tests.devices.virtio.cable import OTHER, STATION, Cable, frame
from tests.devices.virtio.guest import (
    CONFIG,
    CONFIG_GENERATION,
    DEVICE_ID,
    EVENT_IDX,
    INTERRUPT_ACK,
    INTERRUPT_STATUS,
    NEEDS_RESET,
    QUEUE_SEL,
    QUEUE_SIZE_MAX,
    STATUS,
    VERSION_1,
    Guest,
    Ring,
    Used,
)
from tests.turns import Deferred

CSUM, GUEST_CSUM, CTRL_GUEST_OFFLOADS, MTU, MAC = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, HOST_ECN = 1 << 7, 1 << 8, 1 << 11, 1 << 12, 1 << 13
MRG_RXBUF, STATUS_FIELD, CTRL_VQ, CTRL_RX, CTRL_VLAN = (1 << bit for bit in range(15, 20))
CTRL_RX_EXTRA, GUEST_ANNOUNCE, MQ, CTRL_MAC_ADDR = (1 << bit for bit in range(20, 24))
SPEED_DUPLEX = 1 << 63
CONTROLS = CTRL_VQ | CTRL_RX | CTRL_RX_EXTRA | CTRL_VLAN | CTRL_MAC_ADDR

HEADER = struct.Struct("<BBHHHHH")
PLAIN_HEADER = HEADER.pack(0, 0, 0, 0, 0, 0, 0)
RECEIVED = HEADER.pack(0, 0, 0, 0, 0, 0, 1)
"""What a driver writes before a frame, and what it finds before one in a single buffer."""


def start(
    features: int = 0, cable: Cable | None = None, size: int = 16
) -> tuple[Cable, Guest, Ring, Ring]:
    cable = cable or Cable()
    guest = Guest(VirtioNet(cable, STATION))
    receive, transmit = guest.start(features, queues=2, size=size)
    return cable, guest, receive, transmit


def with_control(
    features: int = CONTROLS, nic: VirtioNet | None = None, cable: Cable | None = None
) -> tuple[Cable, Guest, Ring, Ring]:
    """A NIC whose driver has a control queue too: the receive queue and that one."""
    cable = cable or Cable()
    guest = Guest(nic or VirtioNet(cable, STATION))
    receive, _, control = guest.start(features, queues=3)
    return cable, guest, receive, control


def send(guest: Guest, transmit: Ring, data: bytes, header: bytes = PLAIN_HEADER) -> int:
    return transmit.submit(guest.place(header + data))


def order(guest: Guest, control: Ring, kind: int, command: int, data: bytes = b"") -> bool:
    """Give a command; whether it is answered with VIRTIO_NET_OK."""
    answer = guest.room(1)
    control.submit(guest.place(bytes((kind, command))), *([guest.place(data)] if data else []),
                   answer)  # fmt: skip
    assert [used.length for used in control.completed()] == [1]
    return {b"\0": True, b"\1": False}[guest.peek(answer)]


def received(guest: Guest, receive: Ring, cable: Cable, data: bytes) -> bool:
    """Whether a frame from the network comes to the driver."""
    if not receive.chains:
        receive.submit(guest.room(1600))
    cable.deliver(data)
    for used in receive.completed():
        descriptor = guest.space.read(receive.descriptors + 16 * used.head, 8)
        (address,) = struct.unpack("<Q", descriptor)
        assert guest.space.read(address + 12, len(data)) == data
        return True
    return False


def test_what_it_is() -> None:
    cable = Cable(mtu=9000)
    guest = Guest(VirtioNet(cable, STATION, pairs=4, speed=2500))
    assert guest.read(DEVICE_ID) == 1
    config = bytes(guest.read(CONFIG + at, 1) for at in range(17))
    assert struct.unpack("<6sHHHIB", config) == (STATION, 1, 4, 9000, 2500, 1)
    assert guest.offered & (MAC | MTU | MQ | SPEED_DUPLEX) == MAC | MTU | MQ | SPEED_DUPLEX
    sizes = []
    for index in range(10):
        guest.write(QUEUE_SEL, index)
        sizes.append(guest.read(QUEUE_SIZE_MAX))
    assert sizes == [256] * 8 + [64, 0]


def test_what_is_not_known_is_not_offered() -> None:
    guest = Guest(VirtioNet(Cable(offloads=0), STATION))
    assert not guest.offered & (MTU | MQ | SPEED_DUPLEX | CSUM | HOST_TSO4 | HOST_TSO6 | HOST_ECN)
    guest = Guest(VirtioNet(Cable(offloads=Offloads.CHECKSUM | Offloads.TCP6), STATION))
    assert guest.offered & (CSUM | HOST_TSO4 | HOST_TSO6) == CSUM | HOST_TSO6


def test_a_frame_is_sent_however_its_buffers_are_cut() -> None:
    cable, guest, _, transmit = start()
    data = frame(b"hello, network")
    head = send(guest, transmit, data)
    assert transmit.completed() == [Used(head, 0)]
    transmit.submit(guest.place(PLAIN_HEADER), guest.place(data))
    transmit.submit(*(guest.place(bytes((byte,))) for byte in (PLAIN_HEADER + data)[:13]),
                    guest.place(data[1:]))  # fmt: skip
    assert cable.sent == [(data, PLAIN)] * 3


def test_frames_that_wait_are_sent_together() -> None:
    cable, guest, _, transmit = start(EVENT_IDX)
    frames = [frame(bytes((number,))) for number in range(10)]
    for data in frames:
        transmit.offer(transmit.chain(guest.place(PLAIN_HEADER + data)))
    transmit.want_interrupt_after(9)
    transmit.notify()
    assert cable.batches == [10]
    assert [data for data, _ in cable.sent] == frames
    assert guest.interrupts == 1
    assert transmit.avail_event == 10


def in_turns() -> tuple[Cable, Guest, Ring, Deferred]:
    """What `start` gives, of a machine that gives turns, without the ring for what is received."""
    deferred = Deferred()
    nic = VirtioNet(cable := Cable(), STATION)
    guest = Guest(nic)
    nic.plug(guest.slot, guest.space, deferred)
    _, transmit = guest.start(EVENT_IDX, queues=2, size=256)
    return cable, guest, transmit, deferred


def test_who_has_sent_need_not_notify_until_a_turn_finds_nothing() -> None:
    cable, guest, transmit, deferred = in_turns()
    send(guest, transmit, frame(b"1"))
    assert cable.batches == [1], "the first one waits for no turn"
    for number in (2, 3):
        transmit.offer(transmit.chain(guest.place(PLAIN_HEADER + frame(bytes((number,))))))
    assert transmit.avail_event == 0
    deferred.pop()()
    assert cable.batches == [1, 2]
    assert transmit.avail_event == 0
    deferred.pop()()
    assert transmit.avail_event == 3
    assert not deferred
    assert len(transmit.completed()) == 3
    assert deferred.patient == 0, "whoever sends as little waits for an answer"


def test_what_follows_a_long_frame_is_better_sent_together() -> None:
    cable, guest, transmit, deferred = in_turns()
    send(guest, transmit, frame(bytes(1100)))
    assert deferred.patient == 1
    for _ in range(2):
        transmit.offer(transmit.chain(guest.place(PLAIN_HEADER + frame(bytes(600)))))
    deferred.pop()()
    assert cable.batches == [1, 2]
    assert deferred.patient == 2
    deferred.pop()()
    assert transmit.avail_event == 3
    assert not deferred


def test_frames_that_wait_already_are_not_patient() -> None:
    cable, guest, transmit, deferred = in_turns()
    memory = guest.place(PLAIN_HEADER + frame(bytes(1100)))
    for _ in range(256):
        transmit.offer(transmit.chain(memory))
    transmit.notify()
    assert cable.batches == [64] * 4
    assert len(deferred) == 1
    assert deferred.patient == 0


@pytest.mark.parametrize("length", [0, 5, 12, 12 + 13, 12 + 14 + 4 + 0x10000])
def test_what_is_no_frame_is_dropped(length: int) -> None:
    cable, guest, _, transmit = start()
    head = transmit.submit(guest.place(PLAIN_HEADER.ljust(length, b"\0")[:length] or b"\0"))
    assert transmit.completed() == [Used(head, 0)]
    send(guest, transmit, frame(b"good"))
    assert cable.sent == [(frame(b"good"), PLAIN)]
    assert guest.slot.events.counts.total() == 1


def test_a_network_that_is_full_leaves_frames_to_the_driver() -> None:
    cable, guest, _, transmit = start(EVENT_IDX)
    cable.room = 2
    heads = [transmit.chain(guest.place(PLAIN_HEADER + frame(bytes((n,))))) for n in range(5)]
    for head in heads:
        transmit.offer(head)
    transmit.notify()
    assert transmit.completed() == [Used(head, 0) for head in heads[:2]]
    transmit.notify()
    assert transmit.completed() == []
    assert cable.batches == [2], "nobody asks a full network again"
    cable.make_room(1)
    assert transmit.completed() == [Used(heads[2], 0)]
    cable.make_room(None)
    assert transmit.completed() == [Used(head, 0) for head in heads[3:]]
    assert [data for data, _ in cable.sent] == [frame(bytes((n,))) for n in range(5)]


def test_wrong_frames_among_those_that_wait_keep_their_place() -> None:
    cable, guest, _, transmit = start()
    cable.room = 1
    chains = [frame(b"1"), b"short", frame(b"2"), b"short"]
    heads = [transmit.chain(guest.place(PLAIN_HEADER + data)) for data in chains]
    for head in heads:
        transmit.offer(head)
    transmit.notify()
    assert [used.head for used in transmit.completed()] == heads[:2]
    cable.make_room(None)
    assert [used.head for used in transmit.completed()] == heads[2:]
    assert [data for data, _ in cable.sent] == [frame(b"1"), frame(b"2")]


def test_a_frame_from_the_network_is_received() -> None:
    cable, guest, receive, _ = start()
    place = guest.room(1526)
    head = receive.submit(place)
    data = frame(b"hello, station")
    cable.deliver(data)
    assert receive.completed() == [Used(head, 12 + len(data))]
    assert guest.peek(place)[: 12 + len(data)] == RECEIVED + data
    assert guest.peek(place)[12 + len(data)] == 0xEE, "not a byte more is written"
    assert guest.irq()


def test_header_and_frame_go_into_whatever_buffers_there_are() -> None:
    cable, guest, receive, _ = start()
    data = frame(bytes(range(100)))
    places = [guest.room(length) for length in (12, 3, 20, 200)]
    receive.submit(*places)
    cable.deliver(data)
    got = b"".join(guest.peek(place) for place in places)
    assert got[: 12 + len(data)] == RECEIVED + data


def test_a_long_frame_is_spread_over_mergeable_buffers() -> None:
    cable, guest, receive, _ = start(MRG_RXBUF)
    places = [guest.room(100) for _ in range(4)]
    heads = [receive.submit(place) for place in places]
    data = frame(bytes(range(250)) + b"end")
    cable.deliver(data, frame(b"next"))
    lengths = [100, 100, 12 + len(data) - 200, 12 + len(frame(b"next"))]
    assert receive.completed() == [Used(*each) for each in zip(heads, lengths, strict=True)]
    got = b"".join(guest.peek(place)[:used] for place, used in zip(places, lengths, strict=True))
    assert got == (
        HEADER.pack(0, 0, 0, 0, 0, 0, 3) + data + HEADER.pack(0, 0, 0, 0, 0, 0, 1) + frame(b"next")
    )


def test_frames_wait_in_the_network_for_buffers_and_are_not_torn() -> None:
    cable, guest, receive, _ = start(MRG_RXBUF | EVENT_IDX)
    data = frame(bytes(250))
    first = guest.room(100)
    receive.submit(first)
    cable.deliver(data, frame(b"2"))
    assert receive.completed() == [], "one buffer is not enough: it stays where it is"
    assert len(cable.waiting) == 2
    assert receive.avail_event == 1, "the device asks to hear of the next buffer"
    receive.submit(guest.room(100))
    assert receive.completed() == []
    receive.submit(guest.room(100))
    assert [used.length for used in receive.completed()] == [100, 100, 12 + len(data) - 200]
    receive.submit(guest.room(100))
    assert len(receive.completed()) == 1
    assert cable.waiting == []


def test_a_frame_that_never_fits_is_dropped_for_those_behind_it() -> None:
    cable, guest, receive, _ = start()
    receive.submit(guest.room(100))
    cable.deliver(frame(bytes(100)), frame(b"short"))
    assert [used.length for used in receive.completed()] == [12 + len(frame(b"short"))]
    cable, guest, receive, _ = start(MRG_RXBUF, size=4)
    for _ in range(4):
        receive.offer(receive.chain(guest.room(100)))
    receive.notify()
    cable.deliver(frame(bytes(1000)), frame(b"short"))
    assert [used.length for used in receive.completed()] == [12 + len(frame(b"short"))]


def test_until_its_driver_runs_and_after_a_reset_frames_go_nowhere() -> None:
    cable = Cable()
    guest = Guest(VirtioNet(cable, STATION))
    cable.deliver(frame(b"early"))
    assert cable.waiting == []
    (receive, _) = guest.start(queues=2)
    cable.deliver(frame(b"kept"))
    assert len(cable.waiting) == 1
    guest.write(STATUS, 0)
    assert cable.waiting == []
    (receive, _) = guest.start(queues=2)
    place = guest.room(100)
    receive.submit(place)
    assert receive.completed() == []


def test_an_answer_from_inside_the_sending_is_received() -> None:
    cable, guest, receive, transmit = start()
    cable.answer = frame(b"answer")
    place = guest.room(100)
    receive.submit(place)
    send(guest, transmit, frame(b"question"))
    assert len(receive.completed()) == 1
    assert guest.peek(place)[12:].startswith(frame(b"answer"))
    assert len(transmit.completed()) == 1


def test_a_broken_receive_queue_stops_the_device() -> None:
    cable, guest, receive, transmit = start()
    receive.submit(guest.place(b"a buffer that nobody may write"))
    cable.answer = frame(b"answer")
    send(guest, transmit, frame(b"question"))
    assert guest.read(STATUS) & NEEDS_RESET
    cable.deliver(frame(b"more"))
    assert cable.waiting == []
    receive, transmit = guest.start(queues=2)
    receive.submit(guest.room(100))
    cable.deliver(frame(b"works again"))
    assert len(receive.completed()) == 1


# Offloads


OFFLOADED = HEADER.pack(NEEDS_CHECKSUM, Segmentation.TCP4, 54, 1460, 34, 16, 0)


def test_what_the_driver_leaves_to_the_network_is_told() -> None:
    cable, guest, _, transmit = start(CSUM | HOST_TSO4)
    data = frame(bytes(3000))
    send(guest, transmit, data, OFFLOADED)
    assert cable.sent == [(data, Offload(NEEDS_CHECKSUM, Segmentation.TCP4, 54, 1460, 34, 16))]


@pytest.mark.parametrize(
    ("features", "header"),
    [
        (0, (NEEDS_CHECKSUM, 0, 0, 0, 34, 16)),
        (CSUM, (NEEDS_CHECKSUM, 0, 0, 0, 34, 0xFFFF)),
        (CSUM, (NEEDS_CHECKSUM, 0, 0, 0, 113, 0)),
        (CSUM, (NEEDS_CHECKSUM, 0, 0, 0, 13, 0)),
        (CSUM, (NEEDS_CHECKSUM, Segmentation.TCP4, 54, 1460, 34, 16)),
        (CSUM | HOST_TSO4, (0, Segmentation.TCP4, 54, 1460, 34, 16)),
        (CSUM | HOST_TSO4, (NEEDS_CHECKSUM, Segmentation.TCP4, 54, 0, 34, 16)),
        (CSUM | HOST_TSO4, (NEEDS_CHECKSUM, Segmentation.TCP6, 54, 1460, 34, 16)),
        (CSUM | HOST_TSO4, (NEEDS_CHECKSUM, Segmentation.TCP4 | 0x80, 54, 1460, 34, 16)),
        (CSUM | HOST_TSO4, (NEEDS_CHECKSUM, 3, 54, 1460, 34, 16)),
        (CSUM | HOST_TSO4 | HOST_ECN, (NEEDS_CHECKSUM, 0x80, 54, 1460, 34, 16)),
        (HOST_TSO4, (NEEDS_CHECKSUM, Segmentation.TCP4, 54, 1460, 34, 16)),
    ],
)
def test_an_offload_that_was_not_agreed_or_makes_no_sense_is_dropped(
    features: int, header: tuple[int, ...]
) -> None:
    cable, guest, _, transmit = start(features)
    send(guest, transmit, frame(bytes(100)), HEADER.pack(*header, 0))
    assert cable.sent == []
    assert len(transmit.completed()) == 1
    assert not guest.read(STATUS) & NEEDS_RESET


def test_the_network_hears_what_the_driver_takes() -> None:
    cable, guest, _, _ = start(GUEST_CSUM | GUEST_TSO4)
    assert cable.accepted[-1] == Offloads.CHECKSUM | Offloads.TCP4
    guest.write(STATUS, 0)
    assert cable.accepted[-1] == 0
    guest.start(GUEST_TSO4, queues=2)
    assert cable.accepted[-1] == 0, "segments without checksums are of no use"


def test_the_driver_is_told_what_is_left_to_it() -> None:
    cable, guest, receive, _ = start(GUEST_CSUM | GUEST_TSO4 | MRG_RXBUF)
    place = guest.room(4096)
    receive.submit(place)
    offload = Offload(NEEDS_CHECKSUM, Segmentation.TCP4, 54, 1460, 34, 16)
    cable.deliver(frame(bytes(3000)), offload=offload)
    assert guest.peek(place)[:12] == HEADER.pack(*offload, 1)


def test_a_driver_of_old_has_a_shorter_header() -> None:
    cable = Cable()
    guest = Guest(VirtioNet(cable, STATION))
    assert guest.negotiate(0)
    receive, transmit = guest.set_up(0), guest.set_up(1)
    guest.go()
    send(guest, transmit, frame(b"old"), PLAIN_HEADER[:10])
    assert cable.sent == [(frame(b"old"), PLAIN)]
    place = guest.room(100)
    receive.submit(place)
    cable.deliver(frame(b"new"))
    assert guest.peek(place).startswith(bytes(10) + frame(b"new"))
    for at, byte in enumerate(OTHER):
        guest.write(CONFIG + at, byte, 1)
    assert bytes(guest.read(CONFIG + at, 1) for at in range(6)) == OTHER
    guest.negotiate(VERSION_1)
    guest.write(CONFIG, 0x52, 1)
    assert guest.slot.events.counts.total() > 0


# The driver's wishes

GROUP, OTHER_GROUP = bytes.fromhex("01005e000001"), bytes.fromhex("333300000001")
BROADCAST = b"\xff" * 6


def table(*addresses: bytes) -> bytes:
    return struct.pack("<I", len(addresses)) + b"".join(addresses)


def test_all_frames_come_until_the_driver_chooses() -> None:
    cable, guest, receive, _ = start()
    for to in (STATION, OTHER, GROUP, BROADCAST):
        assert received(guest, receive, cable, frame(b"x", to))


def test_what_is_chosen_comes_and_nothing_else() -> None:
    cable, guest, receive, control = with_control()

    def coming() -> list[bytes]:
        every = (STATION, OTHER, GROUP, OTHER_GROUP, BROADCAST)
        return [to for to in every if received(guest, receive, cable, frame(b"x", to))]

    promisc, allmulti, alluni, nomulti, nouni, nobcast = range(6)
    assert order(guest, control, 0, promisc, b"\0")
    assert coming() == [STATION, BROADCAST]
    assert order(guest, control, 1, 0, table(OTHER) + table(GROUP))
    assert coming() == [STATION, OTHER, GROUP, BROADCAST]
    assert order(guest, control, 1, 0, table() + table())
    assert order(guest, control, 0, allmulti, b"\1")
    assert coming() == [STATION, GROUP, OTHER_GROUP, BROADCAST]
    assert order(guest, control, 0, nomulti, b"\1")
    assert order(guest, control, 0, nobcast, b"\1")
    assert coming() == [STATION]
    assert order(guest, control, 0, alluni, b"\1")
    assert coming() == [STATION, OTHER]
    assert order(guest, control, 0, nobcast, b"\0")
    assert order(guest, control, 0, nouni, b"\1")
    assert [to for to in coming() if to != STATION] == [BROADCAST]
    assert order(guest, control, 0, promisc, b"\1")
    assert len(coming()) == 5


def test_the_address_can_be_changed_and_comes_back_with_a_reset() -> None:
    cable, guest, receive, control = with_control()
    assert order(guest, control, 0, 0, b"\0")
    assert order(guest, control, 1, 1, OTHER)
    assert bytes(guest.read(CONFIG + at, 1) for at in range(6)) == OTHER
    assert received(guest, receive, cable, frame(b"x", OTHER))
    assert not received(guest, receive, cable, frame(b"x", STATION))
    guest.write(STATUS, 0)
    assert bytes(guest.read(CONFIG + at, 1) for at in range(6)) == STATION


def test_vlans() -> None:
    cable, guest, receive, control = with_control()

    def tagged(vlan: int) -> bytes:
        return frame(struct.pack(">HH", 0xE000 | vlan, 0x0800) + b"x", kind=b"\x81\x00")

    assert received(guest, receive, cable, frame(b"untagged"))
    assert not received(guest, receive, cable, tagged(7))
    assert order(guest, control, 2, 0, struct.pack("<H", 7))
    assert received(guest, receive, cable, tagged(7))
    assert not received(guest, receive, cable, tagged(8))
    assert order(guest, control, 2, 1, struct.pack("<H", 7))
    assert not received(guest, receive, cable, tagged(7))
    cable, guest, receive, _ = start(CTRL_VQ)
    assert received(guest, receive, cable, tagged(7)), "a driver that does not choose gets all"


@pytest.mark.parametrize(
    ("kind", "command", "data"),
    [
        (0, 0, b""), (0, 0, b"\2"), (0, 6, b"\1"), (0, 0, b"\0\0"),
        (1, 0, b""), (1, 0, table(OTHER)), (1, 0, b"\xff\xff\xff\xff" + bytes(60)),
        (1, 0, table() + table() + b"x"), (1, 1, b"\x52"), (1, 1, GROUP), (1, 2, STATION),
        (2, 0, b"\0\x10"), (2, 2, b"\1\0"), (2, 0, b"\1"),
        (3, 0, b""), (4, 0, b"\1\0"), (5, 0, bytes(7)), (5, 0, b"\xff" * 8), (9, 9, b""),
    ],
)  # fmt: skip
def test_a_wrong_command_is_refused(kind: int, command: int, data: bytes) -> None:
    _, guest, _, control = with_control()
    assert not order(guest, control, kind, command, data)
    assert order(guest, control, 0, 0, b"\1")


def test_a_command_may_be_cut_anywhere_but_needs_a_place_for_its_answer() -> None:
    _, guest, _, control = with_control()
    control.submit(*(guest.place(bytes((byte,))) for byte in b"\0\0\0"), answer := guest.room(1))
    assert guest.peek(answer) == b"\0"
    control.submit(guest.place(b"\0\0\0"))
    assert guest.read(STATUS) & NEEDS_RESET


def test_with_more_addresses_than_a_table_has_all_come() -> None:
    cable, guest, receive, control = with_control()
    assert order(guest, control, 0, 0, b"\0")
    many = [b"\x52" + struct.pack(">IB", number, 0) for number in range(2000)]
    assert order(guest, control, 1, 0, table(*many) + table())
    assert received(guest, receive, cable, frame(b"x", OTHER))


def test_the_driver_changes_what_it_takes() -> None:
    features = CTRL_VQ | CTRL_GUEST_OFFLOADS | GUEST_CSUM | GUEST_TSO4
    cable, guest, _, control = with_control(features)
    assert order(guest, control, 5, 0, struct.pack("<Q", GUEST_CSUM))
    assert cable.accepted[-1] == Offloads.CHECKSUM
    assert not order(guest, control, 5, 0, struct.pack("<Q", GUEST_TSO6)), "was not negotiated"


# Link and announcements


def test_link() -> None:
    cable, guest, _, _ = start(STATUS_FIELD)
    generation = guest.read(CONFIG_GENERATION)
    cable.port.set_link(False)
    assert guest.read(CONFIG + 6, 2) == 0
    assert guest.read(INTERRUPT_STATUS) == 2
    assert guest.read(CONFIG_GENERATION) != generation
    guest.write(INTERRUPT_ACK, 2)
    cable.port.set_link(False)
    assert not guest.irq(), "nothing has changed"
    cable.port.set_link(True)
    assert guest.read(CONFIG + 6, 2) == 1
    assert guest.irq()


def test_a_cable_that_is_pulled_out_loses_what_is_sent() -> None:
    cable = Cable()
    nic = VirtioNet(cable, STATION)
    guest = Guest(nic)
    receive, transmit = guest.start(STATUS_FIELD, queues=2)
    nic.pull_out(True)
    assert (guest.read(CONFIG + 6, 2), nic.link) == (0, False)
    assert guest.read(INTERRUPT_STATUS) == 2
    guest.write(INTERRUPT_ACK, 3)
    send(guest, transmit, frame())
    assert (len(transmit.completed()), cable.sent) == (1, [])
    assert not received(guest, receive, cable, frame())
    assert not cable.waiting
    cable.port.set_link(False)
    cable.port.set_link(True)
    assert guest.read(CONFIG + 6, 2) == 0, "whoever has pulled it out puts it in again"
    nic.pull_out(False)
    assert (guest.read(CONFIG + 6, 2), nic.link) == (1, True)
    send(guest, transmit, frame())
    assert [data for data, _ in cable.sent] == [frame()]
    assert received(guest, receive, cable, frame())


def test_a_link_that_the_network_loses_meanwhile_stays_down() -> None:
    cable = Cable()
    nic = VirtioNet(cable, STATION)
    guest = Guest(nic)
    guest.start(STATUS_FIELD, queues=2)
    nic.pull_out(True)
    cable.port.set_link(False)
    nic.pull_out(False)
    assert guest.read(CONFIG + 6, 2) == 0
    cable.port.set_link(True)
    assert guest.read(CONFIG + 6, 2) == 1


def test_a_network_that_begins_without_a_link_has_it_again() -> None:
    class Reserved(Cable):
        def connect(self, port: Port) -> None:
            super().connect(port)
            port.set_link(False)

    cable = Reserved()
    nic = VirtioNet(cable, STATION)
    cable.port.set_link(True)
    nic.pull_out(True)
    nic.pull_out(False)
    assert nic.link


def test_what_waited_for_the_guest_is_lost_when_the_cable_is_pulled_out() -> None:
    cable = Cable()
    nic = VirtioNet(cable, STATION)
    Guest(nic).start(STATUS_FIELD, queues=2)
    cable.deliver(frame(b"before"))
    assert cable.waiting
    nic.pull_out(True)
    assert not cable.waiting


def test_a_network_that_is_put_in_again_knows_what_the_driver_takes() -> None:
    cable = Cable()
    nic = VirtioNet(cable, STATION)
    Guest(nic).start(STATUS_FIELD | GUEST_CSUM, queues=2)
    nic.pull_out(True)
    cable.accepted.clear()
    nic.pull_out(False)
    assert cable.accepted == [Offloads.CHECKSUM]


def test_a_nic_in_another_place_has_its_driver_say_so() -> None:
    nic = VirtioNet(Cable(), STATION)
    _, guest, _, control = with_control(CTRL_VQ | STATUS_FIELD | GUEST_ANNOUNCE, nic)
    nic.announce()
    assert guest.read(CONFIG + 6, 2) == 3
    assert guest.read(INTERRUPT_STATUS) & 2
    assert order(guest, control, 3, 0)
    assert guest.read(CONFIG + 6, 2) == 1
    assert not order(guest, control, 3, 0)


# Several pairs of queues


def tcp(source: int, target: int, ports: tuple[int, int]) -> bytes:
    """As much of a TCP segment from 10.0.0.source to 10.0.0.target as matters here."""
    header = bytearray(20)
    header[0], header[9] = 0x45, 6
    header[12:16], header[16:20] = bytes((10, 0, 0, source)), bytes((10, 0, 0, target))
    return frame(bytes(header) + struct.pack(">HH", *ports) + bytes(16), kind=b"\x08\x00")


def test_a_flow_is_received_where_it_is_sent() -> None:
    cable = Cable()
    guest = Guest(VirtioNet(cable, STATION, pairs=2))
    rings = guest.start(MQ | CTRL_VQ, queues=5)
    receive, transmit, control = rings[0:4:2], rings[1:4:2], rings[4]
    for ring in receive:
        for _ in range(4):
            ring.submit(guest.room(200))

    def came() -> list[int]:
        return [len(ring.completed()) for ring in receive]

    cable.deliver(tcp(2, 1, (80, 1000)))
    assert came() == [1, 0]
    send(guest, transmit[1], tcp(1, 2, (1000, 80)))
    cable.deliver(tcp(2, 1, (80, 1000)))
    assert came() == [1, 0], "one pair is in use until the driver says otherwise"
    assert not order(guest, control, 4, 0, struct.pack("<H", 3))
    assert not order(guest, control, 4, 0, struct.pack("<H", 0))
    assert order(guest, control, 4, 0, struct.pack("<H", 2))
    send(guest, transmit[1], tcp(1, 2, (1000, 80)))
    cable.deliver(tcp(2, 1, (80, 1000)), tcp(2, 1, (80, 1001)), tcp(2, 1, (80, 1000)))
    assert came() == [1, 2]


def test_without_multiqueue_the_third_queue_is_the_control_queue() -> None:
    cable = Cable()
    guest = Guest(VirtioNet(cable, STATION, pairs=4))
    _, _, control = guest.start(CTRL_VQ | CTRL_RX, queues=3)
    assert order(guest, control, 0, 0, b"\0")


# State


def test_a_nic_is_saved_and_restored() -> None:
    features = CONTROLS | MRG_RXBUF | GUEST_CSUM | CTRL_GUEST_OFFLOADS | STATUS_FIELD
    _, guest, receive, control = with_control(features)
    assert order(guest, control, 0, 0, b"\0")
    assert order(guest, control, 1, 1, OTHER)
    receive.submit(guest.room(100))
    assert list(guest.slot.undeclared()) == []
    saved = guest.slot.save()

    other_cable = Cable()
    other = Guest(VirtioNet(other_cable, STATION))
    other.ram.bytes[:] = guest.ram.bytes
    other.slot.load(saved)
    assert other.slot.save() == saved
    assert other_cable.accepted[-1] == Offloads.CHECKSUM
    other_cable.deliver(frame(b"not for me", STATION), frame(b"for me", OTHER))
    receive.guest = other
    (used,) = receive.completed()
    assert used.length == 12 + len(frame(b"for me"))


def test_frames_that_the_network_had_no_room_for_are_sent_after_a_restore() -> None:
    cable, guest, _, transmit = start()
    cable.room = 0
    send(guest, transmit, frame(b"waits"))
    saved = guest.slot.save()
    other_cable = Cable()
    other = Guest(VirtioNet(other_cable, STATION))
    other.ram.bytes[:] = guest.ram.bytes
    other.slot.load(saved)
    transmit.guest = other
    transmit.notify()
    assert other_cable.sent == [(frame(b"waits"), PLAIN)]
    assert len(transmit.completed()) == 1


def test_the_network_is_closed_with_the_device() -> None:
    cable, guest, _, _ = start()
    guest.slot.close()
    assert cable.closed


def mac_in(guest: Guest) -> bytes:
    return bytes(guest.read(CONFIG + at, 1) for at in range(6))


def test_another_address_is_found_by_the_next_driver() -> None:
    fresh = bytes.fromhex("520102030405")
    nic = VirtioNet(cable := Cable(), STATION)
    guest = Guest(nic)
    receive, _ = guest.start(0, queues=2)
    nic.readdress(fresh)
    assert mac_in(guest) == STATION, "what this driver has found"
    assert received(guest, receive, cable, frame(b"x", STATION))
    guest.write(STATUS, 0)
    assert mac_in(guest) == fresh
    nic.readdress(OTHER)
    assert mac_in(guest) == OTHER == nic.own_mac


def test_in_a_copy_the_cable_leads_nowhere_until_it_is_plugged_in_again() -> None:
    nic = VirtioNet(before := Cable(), STATION)
    guest = Guest(nic)
    receive, transmit = guest.start(STATUS_FIELD | GUEST_CSUM, queues=2)
    nic.forked()
    assert before.forked_away
    assert not before.closed, "it is the other one's"
    assert guest.read(CONFIG + 6, 2) == 0
    send(guest, transmit, frame(b"lost"))
    nic.plug_in(after := Cable())
    assert guest.read(CONFIG + 6, 2) == 1
    assert after.accepted == [Offloads.CHECKSUM]
    send(guest, transmit, frame(b"kept"))
    assert [data for data, _ in after.sent] == [frame(b"kept")]
    assert received(guest, receive, after, frame(b"for it"))
    assert len(transmit.completed()) == 2
    assert not before.sent


def test_a_cable_that_was_pulled_out_is_so_in_a_copy() -> None:
    nic = VirtioNet(Cable(), STATION)
    guest = Guest(nic)
    receive, transmit = guest.start(STATUS_FIELD | GUEST_CSUM, queues=2)
    nic.pull_out(True)
    nic.forked()
    nic.plug_in(after := Cable())
    assert guest.read(CONFIG + 6, 2) == 0
    send(guest, transmit, frame(b"lost"))
    assert not received(guest, receive, after, frame(b"for nobody"))
    nic.pull_out(False)
    assert guest.read(CONFIG + 6, 2) == 1
    send(guest, transmit, frame(b"kept"))
    assert [data for data, _ in after.sent] == [frame(b"kept")]
    assert received(guest, receive, after, frame(b"for it"))


def test_a_cable_of_a_copy_without_a_network_is_put_in_for_nothing() -> None:
    nic = VirtioNet(Cable(), STATION)
    nic.pull_out(True)
    nic.forked()
    nic.pull_out(False)
    assert not nic.link
