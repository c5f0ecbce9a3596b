"""The network device (virtio 1.2, section 5.1): a NIC.

Not offered: UDP fragmentation and segmentation, receive-side scaling and hash reports,
notification coalescing, stand-by. The device keeps no frame: what the network has no room for
stays in the driver's ring, and what the driver has no room for stays with the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct

from bimetal.base.buffers import split, total
from bimetal.base.frames import ETHERNET_HEADER, OFFLOAD_HEADER, Frame
from bimetal.devices.network import Network, PulledOut, in_a_copy
from bimetal.devices.traffic import Traffic
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.device import VERSION_1, Status, VirtioDevice, Work
from bimetal.devices.virtio.limits import PAIRS_LIMIT
from bimetal.devices.virtio.net_commands import ADDR_SET, COMMAND_LIMIT, TABLE_SET, Command
from bimetal.devices.virtio.net_features import (
    F_CTRL_GUEST_OFFLOADS,
    F_CTRL_MAC_ADDR,
    F_CTRL_RX,
    F_CTRL_RX_EXTRA,
    F_CTRL_VLAN,
    F_CTRL_VQ,
    F_GUEST_ANNOUNCE,
    F_MAC,
    F_MQ,
    F_MRG_RXBUF,
    F_MTU,
    F_SPEED_DUPLEX,
    F_STATUS,
    RECEIVED,
    SENT,
    sum_of,
)
from bimetal.devices.virtio.net_filter import MAC_SIZE, ReceiveFilter
from bimetal.devices.virtio.net_receive import Receiver
from bimetal.devices.virtio.net_send import frame_of
from bimetal.devices.virtio.net_steering import Steering, beginning
from bimetal.devices.virtio.queue import Chain, QueueError

__all__ = ["VirtioNet"]

QUEUE_SIZE, CONTROL_SIZE = 256, 64

BATCH, BATCHES = 64, 4
"""Frames handed to the network at once, and how often in a turn."""

STREAM = 1024
"""Bytes, sent together, after which more are expected: questions and acknowledgements are shorter,
and whoever has sent them waits for an answer."""

LINK_UP, WANTS_ANNOUNCE = 1, 2
"""Bits of the status in the configuration."""

_CONFIG = Struct("<6sHHHIB")
"""MAC address; status; greatest number of pairs; MTU; speed in Mbit/s; duplex (5.1.4)."""

UNKNOWN_SPEED, FULL_DUPLEX, UNKNOWN_DUPLEX = 0xFFFF_FFFF, 1, 0xFF


class VirtioNet(VirtioDevice):
    """The NIC with the address ``mac`` on ``network``, which is closed with the device.

    ``pairs`` is the number of pairs of queues, ``mtu`` the longest IP packet in bytes if the driver
    should know it, ``speed`` that of the link in Mbit/s, full duplex, 0 if nobody knows.
    """

    device_id = 1
    saved = ("_mac", "_filter", "_steering", "_received", "_wants_announce")
    fixed = ("queue_limits", "_network", "_own_mac", "_facts")
    derived = (
        "_link", "_receiver", "_header_size", "_control", "_taken", "_blocked", "_starved",
        "_streams", "traffic",
    )  # fmt: skip

    def __init__(
        self, network: Network, mac: bytes, *, pairs: int = 1, mtu: int = 0, speed: int = 0
    ):
        super().__init__()
        if not 1 <= pairs <= PAIRS_LIMIT or len(mac) != MAC_SIZE or mac[0] & 1:
            raise ValueError(f"a NIC with {pairs} pairs of queues and the address {mac.hex(':')}")
        mtu = mtu or network.mtu
        self.queue_limits = (QUEUE_SIZE, QUEUE_SIZE) * pairs + (CONTROL_SIZE,)
        self.offered = F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA
        self.offered |= F_CTRL_VLAN | F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE | F_CTRL_GUEST_OFFLOADS
        self.offered |= sum(RECEIVED) | sum(f for f, bit in SENT.items() if network.offloads & bit)
        self.offered |= F_MTU * (mtu > 0) | F_MQ * (pairs > 1) | F_SPEED_DUPLEX * (speed > 0)
        self._network, self._own_mac, self._mac = network, mac, mac
        duplex = FULL_DUPLEX if speed else UNKNOWN_DUPLEX
        self._facts = pairs, mtu, speed or UNKNOWN_SPEED, duplex
        self._filter, self._steering = ReceiveFilter(), Steering()
        self.traffic = Traffic()
        self._link = LINK_UP
        self._know_nothing()
        network.connect(self)

    def announce(self) -> None:
        """Have the driver tell the network where it is now: the NIC is in another place."""
        if self.has(F_GUEST_ANNOUNCE):
            self._wants_announce = WANTS_ANNOUNCE
            self._configure()
            self.config_changed()

    @property
    def network(self) -> Network:
        """What its cable leads to."""
        return self._network

    @property
    def own_mac(self) -> bytes:
        """The address that a driver finds when it begins."""
        return self._own_mac

    def readdress(self, mac: bytes) -> None:
        """Have another address. A driver that runs goes on with the one that it has found."""
        self._own_mac = mac
        if not self.status:
            self._mac = mac
            self._configure()

    def plug_in(self, network: Network) -> None:
        """The cable leads to ``network`` from now on; before it led nowhere. If it was pulled out
        before that, it still is."""
        if isinstance(self._network, PulledOut):
            self._network = PulledOut(network, up=True)
            return
        self.set_link(True)
        self._connect(network)

    def _connect(self, network: Network) -> None:
        self._network = network
        network.connect(self)
        network.negotiated(sum_of(self._received, RECEIVED))

    @property
    def link(self) -> bool:
        """Whether the driver is told that there is a link."""
        return bool(self._link)

    def pull_out(self, out: bool) -> None:
        """Pull the cable out, or put it in again: meanwhile frames are lost at both ends."""
        network = self._network
        if out and not isinstance(network, PulledOut):
            self._network = PulledOut(network, up=bool(self._link))
            self.set_link(False)
            self.sendable()
        elif not out and isinstance(network, PulledOut):
            self._connect(network.network)
            self.set_link(network.up)

    # The network's side: `bimetal.base.frames.Port`

    def receive(self, frames: Sequence[Frame]) -> int:
        """See `Port.receive`."""
        if not self.running:
            return len(frames)
        wanted = [number for number, frame in enumerate(frames) if self._wants(frame)]
        some = frames if len(wanted) == len(frames) else [frames[number] for number in wanted]
        done = 0
        for pair, run in self._steering.sort(some):
            taken = self._receive_on(2 * pair, run)
            done += taken
            if taken < len(run):
                self._starved = True
                return wanted[done]
        return len(frames)

    def sendable(self) -> None:
        """See `Port.sendable`."""
        self._blocked = False
        for index in range(1, self._control, 2):
            self.look(index)

    def set_link(self, up: bool) -> None:
        """See `Port.set_link`."""
        if up == bool(self._link):
            return
        self._link = LINK_UP * up
        self._wants_announce = WANTS_ANNOUNCE * (up and self.has(F_GUEST_ANNOUNCE))
        self._configure()
        if self.has(F_STATUS):
            self.config_changed()

    # The driver's side

    def settled(self) -> None:
        has_count = self.has(VERSION_1) or self.has(F_MRG_RXBUF)
        self._header_size = OFFLOAD_HEADER.size + 2 * has_count
        self._receiver = Receiver(self.events, self._header_size, self.has(F_MRG_RXBUF))
        self._control = len(self.queues) - 1 if self.has(F_MQ) else 2
        self._taken = sum_of(self.features, SENT)
        self._filter.vlans = self.has(F_CTRL_VLAN)
        self._let_offload(self.features & sum(RECEIVED))

    def has_use_for(self, index: int) -> bool:
        return index == self._control or bool(index % 2 and not self._blocked)

    def carry_on(self, index: int) -> bool:
        self._streams, before = False, self.traffic.bytes_out
        if index == self._control:
            return super().carry_on(index)
        sent = False
        for _ in range(BATCHES if index % 2 else 0):
            if self._blocked:
                return False
            if not (chains := self.queues[index].pop_many(BATCH)):
                # Who sends goes on, as a rule: the next turn looks again, and until then the driver
                # has to notify nobody.
                self._streams = self.traffic.bytes_out - before >= STREAM
                return sent
            self._send(index, chains)
            sent = True
            if not self.running:
                return False  # the answer to a frame met a broken ring
        return bool(index % 2)

    def have_a_turn(self, turns: Turns, turn: Callable[[], None]) -> None:
        if self._streams:
            turns.in_a_lull(turn)
        else:
            turns(turn)

    def notified(self, index: int) -> None:
        if self._starved and index % 2 == 0 and index != self._control:
            self._starved = False
            self._network.resume()

    def config_written(self, offset: int, data: bytes) -> None:
        if offset + len(data) <= MAC_SIZE and not self.has(VERSION_1):  # 5.1.4.2, of old drivers
            self._mac = self._mac[:offset] + data + self._mac[offset + len(data) :]
            self._configure()
        else:
            super().config_written(offset, data)

    def reset(self) -> None:
        super().reset()
        starved = self._starved
        self._know_nothing()
        self._network.negotiated(0)
        if starved:
            self._network.resume()

    def forked(self) -> None:
        """The cable is the other one's: here it is pulled out."""
        self._network = in_a_copy(self._network)
        self._blocked = self._starved = False
        self.set_link(False)

    def close(self) -> None:
        super().close()
        self._network.close()

    def restored(self) -> None:
        super().restored()
        received, self._blocked, self._starved = self._received, False, False
        if self.status & (Status.FEATURES_OK | Status.DRIVER_OK):
            self.settled()
            self._let_offload(received)
        self._configure()  # with the link as it is now
        self._network.resume()

    # Frames

    def _wants(self, frame: Frame) -> bool:
        return self._filter.wants(beginning(frame, ETHERNET_HEADER + 2), self._mac)

    def _receive_on(self, index: int, frames: Sequence[Frame]) -> int:
        """Fill buffers of queue ``index``; how many frames are done with. If not all are, the
        driver is asked to tell when there are buffers again."""
        queue = self.queues[index]
        if not queue.ready:
            return len(frames)
        try:
            done = self._receiver.fill(queue, frames)
            self.traffic.came_in(sum(each.length for each in frames[:done]), done)
            return done
        except QueueError as error:
            self.fail(error)
            return len(frames)
        finally:
            self._tell(index)

    def _send(self, index: int, chains: list[Chain]) -> None:
        """Send the frames in ``chains``, just taken from queue ``index``, and finish with those
        that the network is done with; the others go back."""
        frames: list[Frame] = []
        places: list[int] = []
        for place, chain in enumerate(chains):
            frame = frame_of(chain, self._header_size, self._taken, self.events)
            if frame is not None:
                frames.append(frame)
                places.append(place)
        if self._steering.pairs > 1:
            for frame in frames:
                self._steering.sent(frame, index // 2)
        sent = self._network.send(frames) if frames else 0
        self.traffic.went_out(sum(each.length for each in frames[:sent]), sent)
        self._blocked = sent < len(frames)
        done = places[sent] if self._blocked else len(chains)
        self.queues[index].put_back(len(chains) - done)
        self.finish(index, [(chain, 0) for chain in chains[:done]])

    # Commands of the driver (5.1.6.5)

    def work_on(self, index: int, chain: Chain) -> Work:
        yield total(chain.readable)
        if not chain.writable:
            raise QueueError("a command to the NIC has no place for its answer")
        command = b"".join(split(chain.readable, COMMAND_LIMIT + 1)[0])
        obeyed = 2 <= len(command) <= COMMAND_LIMIT and self._obey(
            command[0], command[1], command[2:]
        )
        if not obeyed:
            self.events.guest_error("a command to the NIC is refused", command[:16].hex(" "))
        chain.writable[0][0] = not obeyed
        return 1

    def _obey(self, kind: int, command: int, data: bytes) -> bool:
        """Carry out a command; whether it is one."""
        match kind:
            case Command.RX:
                return self._filter.set_mode(command, data)
            case Command.MAC if command == TABLE_SET:
                return self._filter.set_tables(data)
            case Command.MAC if command == ADDR_SET:
                return self._set_mac(data)
            case Command.VLAN:
                return self._filter.set_vlan(command, data)
            case Command.ANNOUNCE if command == 0 and self._wants_announce:
                self._wants_announce = 0
                self._configure()
                return True
            case Command.MQ if command == 0:
                return self._set_pairs(data)
            case Command.GUEST_OFFLOADS if command == 0 and len(data) == 8:
                return self._let_offload(int.from_bytes(data, "little"))
        return False

    def _set_mac(self, data: bytes) -> bool:
        if len(data) != MAC_SIZE or data[0] & 1:
            return False
        self._mac = data
        self._configure()
        return True

    def _set_pairs(self, data: bytes) -> bool:
        pairs = int.from_bytes(data, "little")
        if not self.has(F_MQ) or len(data) != 2 or not 1 <= pairs <= self._facts[0]:
            return False
        self._steering.pairs = pairs
        return True

    def _let_offload(self, features: int) -> bool:
        """The driver does to frames that it receives what ``features`` say, from now on."""
        if features & ~self.features or features & ~sum(RECEIVED):
            return False
        self._received = features
        self._network.negotiated(sum_of(features, RECEIVED))
        return True

    # State

    def _know_nothing(self) -> None:
        """Be as after power-on, without a word of a driver."""
        self._mac = self._own_mac
        self._filter.reset()
        self._steering.reset()
        self._receiver = Receiver(self.events, OFFLOAD_HEADER.size + 2, mergeable=False)
        self._header_size = OFFLOAD_HEADER.size + 2
        self._control = len(self.queue_limits) - 1
        self._taken = self._received = self._wants_announce = 0
        self._blocked = self._starved = self._streams = False
        self._configure()

    def _configure(self) -> None:
        status = self._link | self._wants_announce
        self.config[:] = _CONFIG.pack(self._mac, status, *self._facts)
