"""AArch64: the A64 instructions of the Arm Architecture Reference Manual (DDI 0487), by chapter."""

import importlib
import pkgutil

from . import registers
from .state import a64

__all__ = ["a64"]

for _name in ("accesses", "branch_targets"):
    importlib.import_module(f"{__name__}.{_name}")
for _module in pkgutil.iter_modules(registers.__path__):
    importlib.import_module(f"{registers.__name__}.{_module.name}")
