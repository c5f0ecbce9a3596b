"""The boards. Importing this package declares all of them.

`Machine` is the one of `bimetal.machine`, which knows a board only by its name.
"""

from __future__ import annotations

from bimetal.boards.arm_virt import arm_virt
from bimetal.boards.microvm import microvm
from bimetal.boards.riscv_virt import riscv_virt
from bimetal.machine.machine import Machine

__all__ = ["Machine", "arm_virt", "microvm", "riscv_virt"]
