"""The features of a network device, and what they say of offloads (virtio 1.2, 5.1.3)."""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.base.frames import ETHERNET_HEADER, NEEDS_CHECKSUM, Offload, Offloads, Segmentation

__all__ = [
    "F_CSUM",
    "F_CTRL_GUEST_OFFLOADS",
    "F_CTRL_MAC_ADDR",
    "F_CTRL_RX",
    "F_CTRL_RX_EXTRA",
    "F_CTRL_VLAN",
    "F_CTRL_VQ",
    "F_GUEST_ANNOUNCE",
    "F_GUEST_CSUM",
    "F_GUEST_ECN",
    "F_GUEST_TSO4",
    "F_GUEST_TSO6",
    "F_HOST_ECN",
    "F_HOST_TSO4",
    "F_HOST_TSO6",
    "F_MAC",
    "F_MQ",
    "F_MRG_RXBUF",
    "F_MTU",
    "F_SPEED_DUPLEX",
    "F_STATUS",
    "RECEIVED",
    "SENT",
    "may_leave",
    "sum_of",
]

F_CSUM, F_GUEST_CSUM, F_CTRL_GUEST_OFFLOADS, F_MTU, F_MAC = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_ECN = 1 << 7, 1 << 8, 1 << 9
F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN = 1 << 11, 1 << 12, 1 << 13
F_MRG_RXBUF, F_STATUS, F_CTRL_VQ, F_CTRL_RX, F_CTRL_VLAN = (1 << bit for bit in range(15, 20))
F_CTRL_RX_EXTRA, F_GUEST_ANNOUNCE, F_MQ, F_CTRL_MAC_ADDR = (1 << bit for bit in range(20, 24))
F_SPEED_DUPLEX = 1 << 63
"""Features (5.1.3)."""

SENT = {
    F_CSUM: Offloads.CHECKSUM,
    F_HOST_TSO4: Offloads.TCP4,
    F_HOST_TSO6: Offloads.TCP6,
    F_HOST_ECN: Offloads.ECN,
}
"""What the network does to frames that the driver sends, by the feature that says so."""

RECEIVED = {
    F_GUEST_CSUM: Offloads.CHECKSUM,
    F_GUEST_TSO4: Offloads.TCP4,
    F_GUEST_TSO6: Offloads.TCP6,
    F_GUEST_ECN: Offloads.ECN,
}
"""What the driver does to frames that it receives."""

_SEGMENTED = {Segmentation.TCP4: Offloads.TCP4, Segmentation.TCP6: Offloads.TCP6}


def sum_of(features: int, table: Mapping[int, int]) -> int:
    """The `Offloads` that ``features`` stand for in ``table``, `SENT` or `RECEIVED`; nothing can be
    cut into segments by who does not do checksums."""
    offloads = sum(bit for feature, bit in table.items() if features & feature)
    return offloads if offloads & Offloads.CHECKSUM else 0


def may_leave(offload: Offload, length: int, offloads: int) -> bool:
    """Whether a driver may leave that of a frame of ``length`` bytes to whoever does ``offloads``,
    and it makes sense."""
    if not offload.flags & NEEDS_CHECKSUM or not offloads & Offloads.CHECKSUM:
        return False
    end = offload.checksum_start + offload.checksum_offset + 2
    if offload.checksum_start < ETHERNET_HEADER or end > length:
        return False
    if offload.segmentation == Segmentation.NONE:
        return True
    if offload.segmentation & Segmentation.ECN and not offloads & Offloads.ECN:
        return False
    wanted = _SEGMENTED.get(offload.segmentation & ~Segmentation.ECN, 0)
    return bool(offloads & wanted) and offload.segment_size > 0
