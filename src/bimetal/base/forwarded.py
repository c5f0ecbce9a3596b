"""Ports of the host that lead to a guest."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Forwarded"]


class Forwarded(NamedTuple):
    """Whoever dials ``port`` at the host's address ``host``, by ``protocol`` (``tcp`` or ``udp``),
    reaches ``guest_port`` of the guest."""

    protocol: str
    host: str
    port: int
    guest_port: int
