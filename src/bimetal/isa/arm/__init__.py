"""AArch64: the A64 instructions of the Arm Architecture Reference Manual (DDI 0487), by chapter."""

import importlib
import pkgutil

from . import insns, registers
from .state import a64

__all__ = ["a64"]

importlib.import_module(f"{__name__}.accesses")
for _package in (registers, insns):
    for _module in pkgutil.iter_modules(_package.__path__):
        importlib.import_module(f"{_package.__name__}.{_module.name}")
