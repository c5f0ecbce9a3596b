"""The display devices that a machine's options ask for and that are not in virtio slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bimetal.base.late import LateModule
from bimetal.devices.config.fw_cfg import FwCfg
from bimetal.machine.chassis import Chassis
from bimetal.machine.wanted import RAMFB

if TYPE_CHECKING:
    from bimetal.devices.display import ramfb
else:
    ramfb = LateModule("bimetal.devices.display.ramfb")

__all__ = ["add_ramfb"]


def add_ramfb(m: Chassis, fw_cfg: FwCfg) -> None:
    """Let firmware have a frame buffer by a file of ``fw_cfg``, if one is wanted."""
    if m.config.video is not None and m.config.video.kind == RAMFB:
        shown = ramfb.Ramfb(m.space)
        fw_cfg.add_writable_file(ramfb.FILE, bytes(ramfb.FILE_SIZE), shown.configured)
        m.screen = shown.screen
