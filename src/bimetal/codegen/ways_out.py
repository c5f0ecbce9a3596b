"""The stubs of the interpreter to which regions go, by name."""

from __future__ import annotations

from ..isa.describe import Isa

__all__ = ["STUBS", "stub_name"]

STUBS = ("redo", "poll", "go_far", "go_land")
"""The stubs: each has a handler's signature."""


def stub_name(isa: Isa, stub: str) -> str:
    """The symbol by which region objects refer to an interpreter's stub."""
    return f"bimetal_{isa.name}_{stub}"
