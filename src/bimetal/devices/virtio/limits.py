"""How much of something a virtio device has at most."""

from __future__ import annotations

__all__ = ["PAIRS_LIMIT", "PORTS_LIMIT", "QUEUES_LIMIT"]

QUEUES_LIMIT = 16
"""Queues of a disk."""

PAIRS_LIMIT = 16
"""Pairs of queues that a NIC may have; the standard would have 32768."""

PORTS_LIMIT = 31
"""Serial ports of a console device."""
