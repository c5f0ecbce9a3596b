"""The balloon, by which a guest gives memory back."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.devices.virtio.balloon import VirtioBalloon
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.machine.chassis import Chassis

__all__ = ["balloon"]


def balloon(m: Chassis) -> Iterator[VirtioDevice]:
    """The balloon of a machine that is to have one."""
    yield VirtioBalloon()
