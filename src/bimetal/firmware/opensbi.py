"""How a RISC-V machine starts its firmware: the reset code and what it tells OpenSBI.

The firmware is entered with a0 = hart id, a1 = device tree, a2 = the information structure of
OpenSBI's ``fw_dynamic`` (docs/firmware/fw_dynamic.md), version 2. Other firmware ignores a2.
"""

from __future__ import annotations

import struct

__all__ = ["dynamic_info", "reset_code"]

INFO_MAGIC, INFO_VERSION = 0x4942_534F, 2
SUPERVISOR = 1

# Position-independent; the numbers behind it are found relative to the first instruction.
CODE = (
    0x0000_0297,  # auipc t0, 0
    0x0282_8613,  # addi  a2, t0, 40     the information
    0xF140_2573,  # csrr  a0, mhartid
    0x0202_B583,  # ld    a1, 32(t0)     the device tree
    0x0182_B283,  # ld    t0, 24(t0)     the firmware
    0x0002_8067,  # jr    t0
)


def dynamic_info(next_address: int, next_mode: int = SUPERVISOR, boot_hart: int = 0) -> bytes:
    """What ``fw_dynamic`` shall start: ``next_address`` in ``next_mode``, on ``boot_hart``."""
    return struct.pack("<6Q", INFO_MAGIC, INFO_VERSION, next_address, next_mode, 0, boot_hart)


def reset_code(firmware: int, device_tree: int, info: bytes) -> bytes:
    """What harts execute from reset on, to enter ``firmware``."""
    return struct.pack("<6I", *CODE) + struct.pack("<QQ", firmware, device_tree) + info
