"""Commands of a NIC's driver (virtio 1.2, 5.1.6.5)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ADDR_SET", "COMMAND_LIMIT", "TABLE_SET", "Command"]


class Command(IntEnum):
    """Classes of commands (5.1.6.5)."""

    RX = 0
    MAC = 1
    VLAN = 2
    ANNOUNCE = 3
    MQ = 4
    GUEST_OFFLOADS = 5


TABLE_SET, ADDR_SET = 0, 1
"""Commands of the class MAC; ANNOUNCE, MQ and GUEST_OFFLOADS have one, 0."""

COMMAND_LIMIT = 64 << 10
"""Bytes of a command; addresses, of which there may be many, need 6 each."""
