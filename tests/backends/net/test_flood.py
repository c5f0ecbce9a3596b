"""A NIC flooded from both sides: what there is no room for stays where it is."""

from __future__ import annotations

import socket
import struct
import tracemalloc
from contextlib import suppress

from bimetal.backends.net.offload import SoftwareOffload
from bimetal.backends.net.stream import Stream
from bimetal.backends.reactor import Reactor
from bimetal.devices.virtio.net import VirtioNet
from tests.backends.net.test_offload import cut, tcp_frame
from tests.devices.virtio.cable import STATION, frame
from tests.devices.virtio.guest import Guest

CSUM, HOST_TSO4, MRG_RXBUF = 1 << 0, 1 << 11, 1 << 15
HEADER = struct.Struct("<BBHHHHH")
BOUND = 4 << 20
"""Bytes, where 60 MiB are sent in one direction and as much as goes in the other."""


def test_a_flood_from_both_sides() -> None:
    mine, far = socket.socketpair()
    far.setblocking(False)
    reactor = Reactor()
    network = SoftwareOffload(Stream("flood", sock=mine))
    guest = Guest(VirtioNet(network, STATION))
    receive, transmit = guest.start(CSUM | HOST_TSO4 | MRG_RXBUF, queues=2)
    network.attach(reactor)
    buffer = guest.place(HEADER.pack(*cut(4, 1000), 0) + tcp_frame(bytes(60_000)))
    heads = [transmit.chain(buffer) for _ in range(transmit.size)]
    flood = struct.pack(">I", 1514) + frame(bytes(1500))
    offered = arrived = answered = 0
    tracemalloc.start()
    for number in range(1000):
        if offered - answered < transmit.size:
            transmit.offer(heads[number % transmit.size])
            offered += 1
        transmit.notify()
        answered += len(transmit.completed())
        with suppress(BlockingIOError):
            arrived += far.send(flood * 20)
        reactor.turn()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BOUND
    assert 0 < answered < offered < answered + transmit.size + 1
    assert arrived < BOUND, "the far end feels that the guest gives no buffers"
    for _ in range(8):
        receive.submit(guest.room(4096))
    reactor.turn()
    assert len(receive.completed()) == 8, "what waited comes when there is room"
    guest.slot.close()
    far.close()
    reactor.close()
