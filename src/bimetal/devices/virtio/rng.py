"""The entropy device (virtio 1.2, section 5.4): random bytes for the guest."""

from __future__ import annotations

import os
from collections.abc import Callable

from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain

__all__ = ["VirtioRng"]

AT_ONCE = 64 << 10
"""Bytes given for one request at most; the driver is told how many it got and may ask again."""


class VirtioRng(VirtioDevice):
    """Random bytes from ``source``, by default the host's own generator."""

    device_id = 4
    queue_limits = (64,)
    fixed = ("_source",)

    def __init__(self, source: Callable[[int], bytes] = os.urandom):
        super().__init__()
        self._source = source

    def work_on(self, index: int, chain: Chain) -> Work:
        given = 0
        for buffer in chain.writable:
            count = min(len(buffer), AT_ONCE - given)
            buffer[:count] = self._source(count)
            given += count
        yield given
        return given
