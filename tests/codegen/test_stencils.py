"""Stencils, and the runs that are made of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from bimetal.accel.jit import JitCpu
from bimetal.codegen.extract import stencils_in
from bimetal.codegen.hole import COLD_BASE, CONSTANTS_BASE, RECORD_BASE, Filling, Stencil
from bimetal.codegen.layout import Layout
from bimetal.codegen.native import compile_stencils
from bimetal.codegen.policy import stressed
from bimetal.codegen.program import Program
from bimetal.codegen.runs import ROOM
from bimetal.codegen.stencil import GO_ON, WAY_OUT
from bimetal.isa.riscv import rv64
from tests.codegen.hart import interp, jit
from tests.codegen.programs import CODE, random_program

RUNS = replace(stressed("runs"), slice=7)
LAZY = replace(RUNS, slice=1, eager=False)


@pytest.fixture(scope="module")
def stencils() -> Mapping[str, Stencil]:
    """Those of the base instruction set, and the two others."""
    program = Program(Layout.of(rv64, shared=False))
    modules = program.stencil_modules()[:2]
    return stencils_in(map(compile_stencils, modules)).by_symbol


def named(stencils: Mapping[str, Stencil], start: str) -> Stencil:
    return next(stencil for name, stencil in stencils.items() if name.startswith(start))


@pytest.mark.parametrize(
    "filling",
    [
        Filling(),
        Filling(RECORD_BASE, 32, shift=3),
        Filling(addend=4096, slot=9, bytes=1, scale=16),
        Filling(RECORD_BASE, 0, 12, 4, signed=True),
    ],
)
def test_a_symbol_says_what_belongs_into_a_hole(filling: Filling) -> None:
    assert Filling.of_symbol(filling.symbol) == filling


@pytest.mark.parametrize("symbol", ["poll", "hole", "hole.1.2.3", "hole.a.0.0.0.0.1.0"])
def test_a_symbol_of_another_kind_is_no_hole(symbol: str) -> None:
    with pytest.raises(ValueError, match=r"hole|literal"):
        Filling.of_symbol(symbol)


def test_operands_are_in_the_code(stencils: Mapping[str, Stencil]) -> None:
    adds = named(stencils, "h_add_0")
    registers = Layout.of(rv64, shared=False).offsets["x"]
    assert [hole.filling.addend for hole in adds.holes] == [registers] * 3
    assert {hole.filling.scale for hole in adds.holes} == {8}
    assert len({hole.filling.slot for hole in adds.holes}) == 3


def test_what_falls_through_ends_without_a_jump(stencils: Mapping[str, Stencil]) -> None:
    short = named(stencils, "h_addi_0")
    assert len(short.code) < 40
    assert 0xE9 not in short.code[-5:]


def test_accesses_may_be_left_to_the_handler(stencils: Mapping[str, Stencil]) -> None:
    assert not [hole for hole in named(stencils, "h_add_0").holes if hole.filling.base == COLD_BASE]
    assert [hole for hole in named(stencils, "h_ld_0").holes if hole.filling.base == COLD_BASE]


def test_constants_are_addressed_by_their_distance() -> None:
    modules = Program(Layout.of(rv64, shared=False)).stencil_modules()
    converting = next(text for text in modules if "@h_fcvt_l_d_0" in text)
    found = stencils_in([compile_stencils(converting)])
    holes = named(found.by_symbol, "h_fcvt_l_d_0").holes
    distances = [hole for hole in holes if hole.filling.base == CONSTANTS_BASE]
    assert distances
    for hole in distances:
        assert hole.size == 4
        assert 0 <= hole.filling.addend + hole.size < len(found.constants)


def test_there_are_two_that_are_not_of_an_instruction(stencils: Mapping[str, Stencil]) -> None:
    assert {GO_ON, WAY_OUT} <= stencils.keys()


def runs_of(cpu: JitCpu) -> list[int]:
    """The offsets of the first page's instructions that are in runs."""
    start, limit = cpu.state.get("code_start"), cpu.state.get("code_limit")
    return [at for at in range(0, 4096, 2) if start <= cpu.handler(0, at) < limit]


def test_random_programs_end_alike_in_runs() -> None:
    with interp() as interpreted, jit(RUNS) as (hart, cpu):
        for seed in range(500, 530):
            program = random_program(seed)
            for each in (interpreted, hart):
                each.begin(program)
                each.finish()
            assert hart.outcome() == interpreted.outcome(), f"seed {seed}"
            assert runs_of(cpu), "most of it is in runs"


def test_a_page_in_which_a_budget_ran_out_is_in_runs_which_end_with_a_jump() -> None:
    program = [
        rv64.assemble("addi a0, zero, 1"),
        rv64.assemble("addi a1, zero, 2"),
        rv64.assemble(f"jal zero, {CODE + 20:#x}", CODE + 8),
        rv64.assemble("addi a2, zero, 3"),  # never executed
        rv64.assemble("addi a3, zero, 4"),
        rv64.assemble("lui t0, 0x100"),
        rv64.assemble("sd zero, 0(t0)"),
    ]
    with jit(LAZY) as (hart, cpu):
        hart.begin(b"".join(program))
        hart.finish()
        assert runs_of(cpu) == [0, 4, 8, 20, 24]


def test_other_pages_are_not_in_runs() -> None:
    with jit(replace(LAZY, slice=1000)) as (hart, cpu):
        hart.begin(b"".join((rv64.assemble("lui t0, 0x100"), rv64.assemble("sd zero, 0(t0)"))))
        hart.finish()
        assert runs_of(cpu) == []


def test_memory_for_runs_may_be_used_up() -> None:
    with interp() as interpreted, jit(RUNS) as (hart, cpu):
        state = cpu.state
        state.set("code_limit", 0, state.get("code_start") + ROOM + 1000)
        state.set("code_end", 0, state.get("code_limit"))
        for seed in range(530, 540):
            program = random_program(seed)
            for each in (interpreted, hart):
                each.begin(program)
                each.finish()
            assert hart.outcome() == interpreted.outcome(), f"seed {seed}"
        assert cpu.counters["code arenas emptied"] > 0


def test_constants_stay_when_the_memory_for_runs_is_given_back() -> None:
    program = [
        "lui t0, 0x12345",
        "fcvt.d.l ft1, t0",
        "fcvt.l.d a1, ft1",
        "brev8 a2, t0",
        "lui t0, 0x100",
        "sd zero, 0(t0)",
    ]
    with jit(RUNS) as (hart, cpu):
        for _ in range(2):
            hart.begin(b"".join(map(rv64.assemble, program)))
            hart.finish()
            assert cpu.read_register("a1") == 0x1234_5000
            assert cpu.read_register("a2") == 0x482C_0A00
            assert runs_of(cpu), "they are in runs"
            cpu.give_back()


def test_without_runs_there_is_no_memory_for_them() -> None:
    with jit(replace(RUNS, runs=False)) as (hart, cpu):
        hart.begin(random_program(1))
        hart.finish()
        assert cpu.state.get("code_start") == cpu.state.get("code_next") == 0
