"""The GPU, and what people type and point with."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.gpu import VirtioGpu
from bimetal.devices.virtio.input import VirtioInput, keyboard, tablet
from bimetal.machine.chassis import Chassis
from bimetal.machine.wanted import GPU, KEYBOARD, TABLET, VIRTIO

__all__ = ["screen_and_inputs"]

INPUT_KINDS = {KEYBOARD: keyboard, TABLET: tablet}


def screen_and_inputs(m: Chassis) -> Iterator[VirtioDevice]:
    """Those that are wanted."""
    video = m.config.video
    if video is not None and video.kind == GPU:
        gpu = VirtioGpu(video.width, video.height)
        m.screen = gpu.screen
        yield gpu
    for each in m.config.inputs:
        if each.bus == VIRTIO:
            device = VirtioInput(INPUT_KINDS[each.kind]())
            m.inputs[each.kind] = device
            yield device
