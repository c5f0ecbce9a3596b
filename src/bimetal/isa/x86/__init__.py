"""x86: the instructions of Intel's Software Developer's Manual (325462), by chapter."""

import importlib

from .state import x86

__all__ = ["x86"]

for _name in (
    "cpuid",
    "exceptions",
    "mmx_state",
    "modes",
    "msrs",
    "outside",
    "paging",
    "vector_state",
):
    importlib.import_module(f"{__name__}.{_name}")
