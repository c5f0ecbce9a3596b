"""What the guest sends: taken apart, checked, and given to who knows about it."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from bimetal.backends.net.user import arp, dhcp, dhcp6
from bimetal.backends.net.user.dhcp import DhcpServer
from bimetal.backends.net.user.doors import DNS_PORT
from bimetal.backends.net.user.fragments import Reassembly
from bimetal.backends.net.user.icmp import (
    ECHO,
    ECHO6,
    PROHIBITED,
    echo_reply,
    failure_of,
)
from bimetal.backends.net.user.internet import (
    ICMP,
    ICMP6,
    TCP,
    TYPE_ARP,
    TYPE_IP4,
    TYPE_IP6,
    UDP,
    BadPacket,
    Packet,
    ones_sum,
    parse,
    pseudo_header,
)
from bimetal.backends.net.user.link import Link
from bimetal.backends.net.user.ndp import Neighbours6
from bimetal.backends.net.user.pings import Pings
from bimetal.backends.net.user.places import LINK_LOCAL
from bimetal.backends.net.user.resolver import Resolver
from bimetal.backends.net.user.settings import Settings
from bimetal.backends.net.user.tcp.table import Tcp
from bimetal.backends.net.user.udp import HEADER as UDP_HEADER
from bimetal.backends.net.user.udp import Datagrams
from bimetal.base.frames import CHECKSUM_VALID, NEEDS_CHECKSUM, PLAIN, Frame, Offload
from bimetal.base.log import EventLog

__all__ = ["Intake"]

_START = Struct(">12xHBxH2xHxB").unpack_from
"""Of a frame with IPv4: its type, version and header length, total length, the word that tells
of fragments, the protocol. Of IPv6, only the type is at this place."""

TCP4_FRAME, TCP6_FRAME = 54, 74
"""Bytes of all headers of a TCP segment without any options."""

OFFLOADED = Offload(CHECKSUM_VALID)


class Intake:
    """Gives each frame to the protocol that it is about. ``waits`` is called when something may
    have to be given up later."""

    def __init__(
        self,
        settings: Settings,
        link: Link,
        neighbours6: Neighbours6,
        tcp: Tcp,
        udp: Datagrams,
        pings: Pings,
        resolver: Resolver,
        log: EventLog,
        waits: Callable[[], None],
    ):
        self._settings, self._places = settings, link.places
        self._link, self._outlet, self._neighbours6 = link, link.outlet, neighbours6
        self._tcp, self._udp, self._pings, self._resolver = tcp, udp, pings, resolver
        self._dhcp = DhcpServer(settings, link.places.ours)
        self._reassembly = Reassembly()
        self._log, self._sweep_soon = log, waits

    def take(self, frame: Frame) -> None:
        """Do what a frame asks for. Segments of TCP have a short way, all else a thorough one."""
        first = frame.pieces[0]
        if len(first) < TCP6_FRAME:
            if len(first) < TCP4_FRAME:
                self._take_whole(b"".join(frame.pieces), frame)
                return
            head = bytes(first)
        else:
            head = bytes(first[:TCP6_FRAME])
        kind, version, total, fragment, protocol = _START(head)
        if kind == TYPE_IP4:
            if (
                version == 0x45
                and protocol == TCP
                and not fragment & 0x3FFF
                and total >= TCP4_FRAME - 14
                and not ones_sum(head[14:34])
                and self._places.may_be_guest(head[26:30])
            ):
                self._tcp.take(frame, head, 34, total - 20, head[26:38])
                return
        elif kind == TYPE_IP6 and len(head) == TCP6_FRAME and head[20] == TCP:
            length = int.from_bytes(head[18:20])
            if (
                head[14] >> 4 == 6
                and length >= 20
                and self._settings.ipv6
                and self._places.may_be_guest(head[22:38])
            ):
                self._tcp.take(frame, head, 54, length, head[22:58])
                return
        self._take_whole(b"".join(frame.pieces), frame)

    def _take_whole(self, data: bytes, frame: Frame) -> None:
        """Do what the frame ``data`` asks for; ``frame`` tells what its checksums are worth."""
        if len(data) < 14 or data[6] & 1:
            return
        if int.from_bytes(data[12:14]) == TYPE_ARP:
            self._take_arp(data)
            return
        try:
            packet = parse(data, bool(frame.offload.flags & (NEEDS_CHECKSUM | CHECKSUM_VALID)))
        except BadPacket as error:
            self._log.guest_error(str(error))
            return
        if len(packet.source) == 16 and not self._settings.ipv6:
            return
        self._link.learn(packet.source, packet.mac)
        if packet.fragment is not None:
            whole = self._reassembly.add(packet, self._udp.now)
            if whole is None:
                return
            packet = whole
        self._take_packet(packet)

    def _take_arp(self, data: bytes) -> None:
        asked = arp.parse(data)
        if asked is None:
            return
        self._link.learn(asked.address, asked.mac)
        if asked.asks and asked.target in self._places.ours and asked.address != asked.target:
            self._outlet.put(Frame((arp.answer(asked, self._places.mac),)))

    def _take_packet(self, packet: Packet) -> None:
        v4 = len(packet.source) == 4
        if packet.protocol == UDP:
            self._take_udp(packet)
        elif packet.protocol == (ICMP if v4 else ICMP6):
            self._take_icmp(packet)
        elif packet.protocol == TCP and self._places.may_be_guest(packet.source):
            self._take_tcp(packet)

    def _take_tcp(self, packet: Packet) -> None:
        """A segment that came by a winding road: with options of IP, or in fragments."""
        payload = packet.payload
        if len(payload) < 20:
            return
        key = packet.source + packet.destination + payload[:4]
        whole = self._places.mac + packet.mac + payload
        frame = Frame((whole,), OFFLOADED if packet.trusted else PLAIN)
        self._tcp.take(frame, whole, 12, len(payload), key)

    def _take_udp(self, packet: Packet) -> None:
        payload = packet.payload
        if len(payload) < UDP_HEADER.size:
            return
        port, to_port, length, summed = UDP_HEADER.unpack_from(payload)
        if not UDP_HEADER.size <= length <= len(payload):
            self._log.guest_error("a UDP datagram longer than its packet")
            return
        if not packet.trusted and (summed or len(packet.source) == 16):
            pseudo = pseudo_header(packet.source, packet.destination, UDP, length)
            if not summed or ones_sum(pseudo + payload[:length]):
                self._log.guest_error("a UDP datagram with a wrong checksum")
                return
        data = payload[UDP_HEADER.size : length]
        places = self._places
        if to_port == dhcp.SERVER_PORT and len(packet.source) == 4:
            if places.is_group(packet.destination) or places.is_gateway(packet.destination):
                self._take_dhcp(packet, data)
        elif to_port == dhcp6.SERVER_PORT and packet.destination in (dhcp6.GROUP, places.gateway6):
            reply = dhcp6.answer(data, self._settings, places.mac)
            if reply is not None:
                self._answer(packet, port, reply)
        elif places.is_group(packet.destination) or not places.may_be_guest(packet.source):
            pass  # nobody else is there
        elif places.is_dns(packet.destination) and to_port == DNS_PORT:
            self._resolver.ask(data, lambda reply: self._answer(packet, port, reply))
            self._sweep_soon()
        else:
            self._udp.send(packet, data)
            self._sweep_soon()

    def _answer(self, packet: Packet, port: int, data: bytes) -> None:
        """Send a datagram back to where ``packet`` came from."""
        to_port = int.from_bytes(packet.payload[2:4])
        source = packet.destination
        if self._places.is_group(source):
            source = LINK_LOCAL
        self._link.udp((source, to_port), (packet.source, port), data)

    def leases(self) -> list[tuple[bytes, str]]:
        """The addresses that were handed out, and to whom."""
        return self._dhcp.leases()

    def _take_dhcp(self, packet: Packet, data: bytes) -> None:
        answer = self._dhcp.answer(data)
        if answer is not None:
            to = arp.BROADCAST if answer.everybody else packet.mac
            address = b"\xff" * 4 if answer.everybody else answer.address
            self._link.udp_to(
                to, (self._places.gateway, dhcp.SERVER_PORT), (address, dhcp.CLIENT_PORT),
                answer.payload,
            )  # fmt: skip

    def _take_icmp(self, packet: Packet) -> None:
        body = packet.payload
        v6 = packet.protocol == ICMP6
        if len(body) < 8:
            return
        pseudo = b""
        if v6:
            pseudo = pseudo_header(packet.source, packet.destination, ICMP6, len(body))
        if ones_sum(pseudo + body):
            self._log.guest_error("an ICMP message with a wrong checksum")
            return
        if body[0] == (ECHO6 if v6 else ECHO):
            self._take_echo(packet)
        elif v6:
            known = self._neighbours6.learned(packet)
            if known is not None:
                self._link.learn(*known)
            message = self._neighbours6.answer(packet)
            if message is not None:
                self._link.message(message)

    def _take_echo(self, packet: Packet) -> None:
        places = self._places
        if packet.destination in places.ours:
            if places.may_be_guest(packet.source):
                self._link.icmp(packet.destination, packet.source, echo_reply(packet))
        elif places.is_group(packet.destination) or not places.may_be_guest(packet.source):
            return
        elif self._settings.restricted:
            self._link.failed(packet, PROHIBITED)
        else:
            host = places.host_address(packet.destination)
            if host is None:
                self._link.failed(packet, failure_of(0))
            else:
                self._pings.send(packet, host)
                self._sweep_soon()
