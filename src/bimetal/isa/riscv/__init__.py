"""RISC-V, 64 bits: RV64GC with M, S and U modes, Sstc, Svadu, and the extensions in `insns`."""

from .state import rv64

__all__ = ["rv64"]
