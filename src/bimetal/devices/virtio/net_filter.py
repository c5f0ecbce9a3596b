"""Which frames of the network a NIC's driver wants (virtio 1.2, 5.1.6.5.1 to 5.1.6.5.3)."""

from __future__ import annotations

from bimetal.base.state import Stateful

__all__ = ["BROADCAST", "MAC_SIZE", "ReceiveFilter"]

MAC_SIZE = 6
BROADCAST = b"\xff" * MAC_SIZE

PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST = range(6)
"""Commands of class VIRTIO_NET_CTRL_RX: what each switches on or off."""

VLAN_TAG = b"\x81\x00"
VLANS = 4096

MAC_LIMIT = 1024
"""Addresses in a table; of the kind of which there are more, all are let in, as QEMU does."""


class ReceiveFilter(Stateful):
    """The driver's wishes; until it has any, all frames are welcome, for drivers that have none.

    ``vlans`` says whether the driver chooses its VLANs at all.
    """

    saved = ("modes", "unicast", "multicast", "chosen_vlans", "vlans")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all wishes."""
        self.modes = 1 << PROMISC
        self.unicast: frozenset[bytes] = frozenset()
        self.multicast: frozenset[bytes] = frozenset()
        self.chosen_vlans: frozenset[int] = frozenset()
        self.vlans = False

    def wants(self, head: bytes, mac: bytes) -> bool:
        """Whether a frame that begins with ``head``, 16 bytes, may come to the address ``mac``."""
        if self.vlans and head[12:14] == VLAN_TAG:
            vlan = int.from_bytes(head[14:16], "big") & VLANS - 1
            if vlan not in self.chosen_vlans:
                return False
        modes = self.modes
        if modes >> PROMISC & 1:
            return True
        to = head[:MAC_SIZE]
        if not to[0] & 1:
            if modes >> NOUNI & 1:
                return False
            return to == mac or bool(modes >> ALLUNI & 1) or to in self.unicast
        if to == BROADCAST:
            return not modes >> NOBCAST & 1
        if modes >> NOMULTI & 1:
            return False
        return bool(modes >> ALLMULTI & 1) or to in self.multicast

    # Commands; each says whether it is one

    def set_mode(self, command: int, data: bytes) -> bool:
        """VIRTIO_NET_CTRL_RX: switch one of the modes."""
        if command > NOBCAST or len(data) != 1 or data[0] > 1:
            return False
        self.modes = self.modes & ~(1 << command) | data[0] << command
        return True

    def set_tables(self, data: bytes) -> bool:
        """VIRTIO_NET_CTRL_MAC_TABLE_SET: a table of unicast addresses and one of multicast ones."""
        tables = []
        for mode in (ALLUNI, ALLMULTI):
            count = int.from_bytes(data[:4], "little")
            end = 4 + MAC_SIZE * count
            if len(data) < end:
                return False
            tables.append((mode, [data[at : at + MAC_SIZE] for at in range(4, end, MAC_SIZE)]))
            data = data[end:]
        if data:
            return False
        self.unicast, self.multicast = (frozenset(addresses) for _, addresses in tables)
        for mode, addresses in tables:
            if len(addresses) > MAC_LIMIT:
                self.modes |= 1 << mode
        return True

    def set_vlan(self, command: int, data: bytes) -> bool:
        """VIRTIO_NET_CTRL_VLAN: let a VLAN in (0), or no more (1)."""
        vlan = int.from_bytes(data, "little")
        if command > 1 or len(data) != 2 or vlan >= VLANS:
            return False
        self.chosen_vlans = self.chosen_vlans - {vlan} if command else self.chosen_vlans | {vlan}
        return True
