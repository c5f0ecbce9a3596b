"""Flags that nobody reads cost nothing in regions, and a test of flags does not leave one."""

from __future__ import annotations

from bimetal.codegen.discover import Code, discover
from bimetal.codegen.layout import PAGE
from bimetal.codegen.liveness import dead_sets
from bimetal.codegen.region import Region
from bimetal.isa.x86 import x86
from bimetal.isa.x86.state import FLAGS

ADD_ADD = "4801d8 4801d1"  # add rax, rbx; add rcx, rdx


def region_of(code: str) -> Region:
    page = bytes.fromhex(code).ljust(PAGE, b"\xcc")
    steps = discover(Code(x86, page), [0], lambda at: True, limit=100)
    return Region(steps, (0,), quick=True)


def dead_flags(code: str) -> list[set[str]]:
    """Of each instruction, the flags that it writes in vain."""
    steps = [step for _, step in sorted(region_of(code).steps.items())]
    dead = dead_sets([step.block for step in steps])
    return [{value.file for value in dead & set(step.block)} for step in steps]


def test_an_addition_makes_the_flags_of_the_one_before_it_dead() -> None:
    assert dead_flags(ADD_ADD) == [{*FLAGS}, set()]


def test_flags_that_are_read_or_seen_from_outside_are_not_dead() -> None:
    jump_if_carry = "7202"
    assert dead_flags(f"4801d8 {jump_if_carry} 4801d1")[0] == set()
    # A load may miss the TLB; then the region is left, with all registers as they are.
    load = "488b0e"
    assert dead_flags(f"4801d8 {load} 4801d1")[0] == set()


def test_a_conditional_jump_stays_in_the_region() -> None:
    """Its flags are worked out in place: a call would leave the region to the interpreter."""
    region = region_of("4801d8 72fb 4801d1")
    assert sorted(region.steps) == [0, 3, 5]
