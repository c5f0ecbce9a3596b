"""Flags that nobody reads cost nothing in regions, and a test of flags does not leave one."""

from __future__ import annotations

import pytest

from bimetal.codegen.discover import Code, discover
from bimetal.codegen.layout import PAGE, Layout
from bimetal.codegen.liveness import dead_sets
from bimetal.codegen.region import Region, region_text
from bimetal.codegen.ways_out import STUBS
from bimetal.isa.describe import Isa
from bimetal.isa.x86 import state, x86

from .x86.architecture import architecture

FLAGS = {
    architecture.isa: {"flag_op", "flag_width", "flag_a", "flag_b", "flag_r"},
    x86: {*state.FLAGS},
}
"""The registers of both: the sketch has what flags are made of, x86 the flags themselves."""
ADD_ADD = "4801d8 4801d1"  # add rax, rbx; add rcx, rdx

either = pytest.mark.parametrize("isa", FLAGS, ids=lambda isa: isa.name)


def region_of(isa: Isa, code: str) -> Region:
    page = bytes.fromhex(code).ljust(PAGE, b"\xcc")
    steps = discover(Code(isa, page), [0], lambda at: True, limit=100)
    return Region(steps, (0,), quick=True)


def dead_flags(isa: Isa, code: str) -> list[set[str]]:
    """Of each instruction, the flags' registers that it writes in vain."""
    steps = [step for _, step in sorted(region_of(isa, code).steps.items())]
    dead = dead_sets([step.block for step in steps])
    return [{value.file for value in dead & set(step.block)} for step in steps]


@either
def test_an_addition_makes_the_flags_of_the_one_before_it_dead(isa: Isa) -> None:
    assert dead_flags(isa, ADD_ADD) == [FLAGS[isa], set()]


@either
def test_flags_that_are_read_or_seen_from_outside_are_not_dead(isa: Isa) -> None:
    jump_if_carry = "7202"
    assert dead_flags(isa, f"4801d8 {jump_if_carry} 4801d1")[0] == set()
    # A load may miss the TLB; then the region is left, with all registers as they are.
    load = "488b0e"
    assert dead_flags(isa, f"4801d8 {load} 4801d1")[0] == set()
    # What an addition to memory writes, it writes behind its own accesses.
    assert dead_flags(isa, "4801d8 480116 4801d1") == [set(), FLAGS[isa], set()]


@pytest.mark.parametrize(("isa", "flag"), [(architecture.isa, "flag_r"), (x86, "cf")])
def test_nothing_of_dead_flags_is_in_the_region(isa: Isa, flag: str) -> None:
    layout = Layout.of(isa, shared=False)
    text = region_text(layout, "adds", region_of(isa, ADD_ADD), [f"s_{name}" for name in STUBS])
    place = f"ptr %st, i64 {layout.offsets[flag]}\n"
    assert text.count(place) == 1


@either
def test_a_conditional_jump_stays_in_the_region(isa: Isa) -> None:
    """Its flags are worked out in place: a call would leave the region to the interpreter."""
    region = region_of(isa, "4801d8 72fb 4801d1")
    assert sorted(region.steps) == [0, 3, 5]
