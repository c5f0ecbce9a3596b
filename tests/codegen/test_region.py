"""Regions do what the interpreter does, wherever they begin and end."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from bimetal.accel.code_page import Loaded
from bimetal.accel.loader import Loader
from bimetal.codegen.interpreter import interpreter
from bimetal.codegen.job import Job
from bimetal.codegen.layout import PAGE
from bimetal.codegen.policy import USUAL
from bimetal.codegen.translator import translate
from bimetal.codegen.ways_out import STUBS
from bimetal.isa.riscv import rv64
from tests.codegen.hart import Hart, interp, jit
from tests.codegen.programs import CODE, END, random_program

NATIVE = interpreter(rv64, shared=False)
ALL_EXECUTED = bytes([1]) * (PAGE // rv64.granule)


@pytest.fixture(scope="module")
def loader() -> Loader:
    return Loader([NATIVE.library.address(stub) for stub in STUBS])


@pytest.fixture
def interpreted() -> Iterator[Hart]:
    with interp() as hart:
        yield hart


def region(
    loader: Loader,
    code: bytes,
    entries: tuple[int, ...],
    level: int,
    name: str,
    misaligned: Sequence[int] = (),
) -> Loaded:
    """A region of a page, compiled here and now."""
    page = code.ljust(PAGE, b"\0")
    job = Job(page, entries, ALL_EXECUTED, level, name, misaligned=tuple(misaligned))
    answer = translate(rv64, NATIVE.layout, job)
    assert answer.content
    return Loaded(level, answer.entries, loader.load(answer.content))


def install(cpu: object, code: bytes, regions: list[Loaded]) -> None:
    """Offer regions for the page that a hart decodes first."""
    cpu.offer(0, code.ljust(PAGE, b"\0"), regions)  # type: ignore[attr-defined]


def decode_first_page(hart: Hart, program: bytes) -> None:
    """Run the program once, so that its page is decoded, and start again."""
    hart.begin(program)
    hart.finish()
    hart.cpu.reset()
    hart.begin(program)


@pytest.mark.parametrize(
    ("level", "misaligned"),
    [(1, ()), (2, ()), (2, range(PAGE))],
    ids=["quick", "optimised", "misaligned"],
)
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_end_alike(
    interpreted: Hart, loader: Loader, seed: int, level: int, misaligned: Sequence[int]
) -> None:
    program = random_program(seed)
    interpreted.begin(program)
    interpreted.finish()
    places = random.Random(seed)
    entries = tuple(sorted(places.sample(range(0, len(program), 4), 5)))
    with jit() as (hart, cpu):
        decode_first_page(hart, program)
        name = f"test_{seed}_{level}_{len(misaligned)}"
        install(cpu, program, [region(loader, program, entries, level, name, misaligned)])
        hart.finish()
        assert cpu.installed == 1
        assert hart.outcome() == interpreted.outcome()


def test_many_small_regions_hand_over_to_each_other(interpreted: Hart, loader: Loader) -> None:
    program = random_program(99)
    interpreted.begin(program)
    interpreted.finish()
    with jit() as (hart, cpu):
        decode_first_page(hart, program)
        regions = [
            region(loader, program, (offset,), 1, f"small_{offset}")
            for offset in range(0, len(program), 24)
        ]
        install(cpu, program, regions)
        hart.finish()
        assert hart.outcome() == interpreted.outcome()


def test_a_region_is_not_installed_for_other_code(loader: Loader) -> None:
    program, other = random_program(1), random_program(2)
    with jit() as (hart, cpu):
        decode_first_page(hart, other)
        install(cpu, program, [region(loader, program, (0,), 1, "other")])
        hart.finish()
        assert cpu.installed == 0


def test_changed_code_takes_effect_behind_a_fence(loader: Loader) -> None:
    def program(number: int) -> bytes:
        lines = [f"addi a0, a0, {number}", "fence.i", "jalr zero, 0(a1)"]
        return b"".join(rv64.assemble(line) for line in lines)

    with jit() as (hart, cpu):
        end = [f"lui a7, {END >> 12:#x}", "sd a6, 0(a7)"]
        tail = b"".join(rv64.assemble(line) for line in end)
        hart.begin(program(1))
        hart.put(CODE + 0x2000, tail)
        cpu.write_register("a1", CODE + 0x2000)
        hart.finish()
        install(cpu, program(1), [region(loader, program(1), (0,), 1, "changed")])
        hart.put(CODE, program(5))
        cpu.write_register("pc", CODE)
        hart.finish()
        assert cpu.read_register("a0") == 1 + 5


def test_a_jump_out_of_a_region_leaves_a_sample_of_where_it_leads(loader: Loader) -> None:
    jump, target = 12, 20
    program = b"".join(
        rv64.assemble(text, CODE + 4 * n)
        for n, text in enumerate(
            (
                "auipc t1, 0",
                f"addi t1, t1, {target}",
                "addi s1, zero, 1000",
                "jalr zero, 0(t1)",
                "ebreak",
                "addi s1, s1, -1",
                f"bne s1, zero, {CODE + jump:#x}",
                f"lui t2, {END >> 12:#x}",
                "sw zero, 0(t2)",
            )
        )
    )
    never = 1000.0
    policy = replace(
        USUAL, interval=never, idle_interval=never, new_interval=never, slice=7, keep=False
    )
    with jit(policy) as (hart, cpu):
        decode_first_page(hart, program)
        install(cpu, program, [region(loader, program, (jump,), 1, "test_jump_out")])
        cpu.samples()
        hart.finish()
        led = {(cpu.place(to)[1], cpu.place(by)[1]) for to, by, inside in cpu.samples() if inside}
        assert led == {(target, jump)}


@pytest.mark.parametrize("misaligned", [(), (4, 8)], ids=["aligned", "misaligned"])
def test_accesses_across_pages_are_made_whole(loader: Loader, misaligned: Sequence[int]) -> None:
    lines = (
        f"beq a0, zero, {CODE + 12:#x}",
        "ld a4, 0(a1)",
        "sd a4, 16(a1)",
        f"lui t2, {END >> 12:#x}",
        "sw zero, 0(t2)",
    )
    program = b"".join(rv64.assemble(text, CODE + 4 * n) for n, text in enumerate(lines))
    number = 0x1122_3344_5566_7788
    for away in (-9, -5, 3, -21):
        with jit() as (hart, cpu):
            decode_first_page(hart, program)
            place = 2 * PAGE + away
            cpu.write_register("a0", 1)
            cpu.write_register("a1", CODE + place)
            hart.put(CODE + place, number.to_bytes(8, "little"))
            name = f"test_across_{away % PAGE}_{len(misaligned)}"
            install(cpu, program, [region(loader, program, (4,), 2, name, misaligned)])
            hart.finish()
            assert cpu.read_register("a4") == number
            assert hart.ram.bytes[place + 16 :][:8] == number.to_bytes(8, "little")


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("away", [0, 3], ids=["aligned", "misaligned"])
def test_pages_are_entered_into_the_tlb_without_leaving_a_region(
    loader: Loader, level: int, away: int
) -> None:
    loop, first, last = 4, 2, 10
    lines = (
        f"beq a0, zero, {CODE + 28:#x}",
        "addi a3, a3, 1",
        "ld a4, 0(a1)",
        "add a5, a5, a4",
        "sd a5, 8(a1)",
        "add a1, a1, a6",
        f"bne a1, a2, {CODE + loop:#x}",
        f"lui t2, {END >> 12:#x}",
        "sw zero, 0(t2)",
    )
    program = b"".join(rv64.assemble(text, CODE + 4 * n) for n, text in enumerate(lines))
    with jit() as (hart, cpu):
        decode_first_page(hart, program)
        values = {"a0": 1, "a1": CODE + first * PAGE + away, "a2": CODE + last * PAGE + away}
        for name, value in (values | {"a6": PAGE}).items():
            cpu.write_register(name, value)
        for page in range(first, last):
            hart.put(CODE + page * PAGE + away, (page * 1000).to_bytes(8, "little"))
        name = f"test_pages_{level}_{away}"
        install(cpu, program, [region(loader, program, (loop,), level, name)])
        missed = cpu.counters["data TLB misses"]
        hart.finish()
        assert cpu.counters["data TLB misses"] - missed >= 2 * (last - first)
        executed = cpu.executed(0, NATIVE.library.address("h_decode"))
        assert not any(executed[(loop + 4) // rv64.granule : 28 // rv64.granule])
        assert cpu.read_register("a5") == sum(page * 1000 for page in range(first, last))
        stored = hart.ram.bytes[(last - 1) * PAGE + away + 8 :][:8]
        assert int.from_bytes(stored, "little") == cpu.read_register("a5")
        assert cpu.misaligned() == ((8, 16) if away else ())
