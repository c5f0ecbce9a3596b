"""x86: the instructions of Intel's Software Developer's Manual (325462), by chapter."""

from .state import x86

__all__ = ["x86"]
