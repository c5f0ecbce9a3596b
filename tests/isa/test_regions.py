"""What a region may hold it can be made of: no instruction leaves a page to the interpreter."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bimetal.codegen.discover import Code, discover
from bimetal.codegen.layout import PAGE, Layout
from bimetal.codegen.region import Region, region_text
from bimetal.codegen.ways_out import STUBS, stub_name
from bimetal.ir.analysis import Analysis
from bimetal.ir.effects import Get, If, RoutineCall, Set
from bimetal.ir.value import Block, Value
from bimetal.isa.arm import a64
from bimetal.isa.describe import Isa
from bimetal.isa.riscv import rv64

WORD = 4
TOGETHER = 64


def words(isa: Isa) -> Iterator[bytes]:
    """One word of every description of four bytes, its operands at random."""
    rng = random.Random(1)
    for insn in isa.insns:
        pattern = insn.pattern
        fields = {
            name: rng.getrandbits(width) & pattern.field_mask(name)
            for name, width in pattern.widths.items()
        }
        if insn.length == WORD and insn.admits(fields):
            yield (pattern.encode(fields) & 0xFFFF_FFFF).to_bytes(WORD, "little")


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "optimised"])
@pytest.mark.parametrize("isa", [a64, rv64], ids=lambda isa: isa.name)
def test_every_instruction_that_a_region_holds_can_be_translated(isa: Isa, quick: bool) -> None:
    layout = Layout.of(isa, shared=False)
    stubs = [stub_name(isa, stub) for stub in STUBS]
    every, held = list(words(isa)), 0
    random.Random(2).shuffle(every)
    for first in range(0, len(every), TOGETHER):
        page = b"".join(every[first : first + TOGETHER])
        places = range(0, len(page), WORD)
        steps = discover(Code(isa, page.ljust(PAGE, b"\0")), places, lambda at: True, TOGETHER)
        region = Region(steps, tuple(sorted(steps)), quick)
        assert region_text(layout, "region", region, stubs)
        held += len(steps)
    assert held > len(every) // 2


def operations(block: Block, fast: bool = False) -> Iterator[Value]:
    """All operations of a block, or those that ``fast`` code carries out."""
    for value in block:
        yield value
        if isinstance(value, If):
            ways = value.branches
            for branch in [ways.otherwise] if fast and ways.cold else ways:
                yield from operations(branch, fast)


def reads(isa: Isa, name: str, seen: set[str]) -> set[str]:
    """The registers that a routine reads, with what it calls."""
    if name in seen:
        return set()
    seen.add(name)
    found = set[str]()
    for value in operations(isa.routines[name].block()):
        if isinstance(value, Get):
            found.add(value.file)
        elif isinstance(value, RoutineCall):
            found |= reads(isa, value.routine.name, seen)
    return found


LATER = {"ttbr0_el", "ttbr1_el", "vttbr", "mair_el"}
"""Registers whose new value may be disregarded until the context is synchronized (D17.1.2.2), which
no region does."""


@pytest.mark.parametrize("isa", [a64, rv64], ids=lambda isa: isa.name)
def test_no_register_of_a_region_decides_on_translations(isa: Isa) -> None:
    """Regions fill the TLB while they hold registers that they have not written back."""
    decides = reads(isa, "translate", set()) - LATER
    assert len(decides) > 5
    for insn in isa.insns:
        for block in insn.variants().values():
            does = Analysis(block)
            if not (does.frame or does.syncs):
                written = {op.file for op in operations(block, fast=True) if isinstance(op, Set)}
                assert not decides & written, insn.name
