"""The boards. Importing this package makes all of them known, by name.

`Machine` is the one of `bimetal.machine`, which knows a board only by its name.
"""

from __future__ import annotations

from bimetal.machine.board import supply
from bimetal.machine.machine import Machine

__all__ = ["Machine"]

supply(
    {
        "arm-virt": "bimetal.boards.arm_virt",
        "microvm": "bimetal.boards.microvm",
        "riscv-virt": "bimetal.boards.riscv_virt",
    }
)
