"""The display devices that a machine's options ask for and that are not in virtio slots."""

from __future__ import annotations

from bimetal.devices.config.fw_cfg import FwCfg
from bimetal.devices.display.ramfb import FILE, FILE_SIZE, Ramfb
from bimetal.machine.chassis import Chassis
from bimetal.machine.wanted import RAMFB

__all__ = ["add_ramfb"]


def add_ramfb(m: Chassis, fw_cfg: FwCfg) -> None:
    """Let firmware have a frame buffer by a file of ``fw_cfg``, if one is wanted."""
    if m.config.video is not None and m.config.video.kind == RAMFB:
        ramfb = Ramfb(m.space)
        fw_cfg.add_writable_file(FILE, bytes(FILE_SIZE), ramfb.configured)
        m.screen = ramfb.screen
