"""RISC-V, 64 bits: RV64GC with M, S and U modes, Sstc, Svadu, and the extensions in `insns`."""

import importlib
import pkgutil

from . import insns
from .state import rv64

__all__ = ["rv64"]

for _module in pkgutil.iter_modules(insns.__path__):
    importlib.import_module(f"{insns.__name__}.{_module.name}")
