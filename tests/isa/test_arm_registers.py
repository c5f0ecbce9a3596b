"""AArch64's registers seen from outside: those of the manual, by its names, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.isa.arm import a64
from bimetal.seam import Cpu, Halt, Mmio, Outputs
from tests.accel.bare_cpu import ENGINES, Make, cpu_before, named

BASE = 0x4000_0000
VECTORS, FROM_HERE, IRQ_FROM_HERE = BASE + 0x800, 0x200, 0x280
TOUCH_DEVICE = "str x9, [x9, #0]"  # x9 is 0, where there is no memory
EL1H, EL2H, MASKED = 5, 9, 15 << 6
E2H, RW = 1 << 34, 1 << 31


@pytest.fixture(params=ENGINES, ids=named)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a vCPU with EL2, which is where it is after its reset, at some instructions."""
    engine, clock = request.param, VirtualClock()
    with cpu_before(engine, a64, BASE, clock=clock, hypervisor=True) as before:

        def make(*lines: str, **registers: int) -> Cpu:
            handlers = ((FROM_HERE, "wfi"), (IRQ_FROM_HERE, TOUCH_DEVICE))
            memory = {VECTORS + at: a64.assemble(line) for at, line in handlers}
            return before(*lines, "wfi", memory=memory, **registers)

        yield make


def halt(cpu: Cpu) -> Cpu:
    assert isinstance(cpu.run(), Halt)
    return cpu


def test_names_are_those_of_the_manual(make: Make) -> None:
    names = make().register_names
    assert {
        "pc", "sp", "x0", "x30", "v31", "nzcv", "fpcr", "fpsr", "pstate", "currentel", "daif",
        "sp_el0", "sp_el1", "sp_el2", "sctlr_el1", "sctlr_el2", "elr_el1", "spsr_el1", "ttbr1_el1",
        "cpacr_el1", "hcr_el2", "cntvct_el0", "cntv_ctl_el0", "mpidr_el1", "id_aa64pfr0_el1",
    } <= set(names)  # fmt: skip
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name",
    ["nf", "fpsr_qc", "fp_ready", "el", "el2_there", "owed", "walk_slot", "strict", "line0", "hcr",
     "cpu_index", "identity3", "elr_el", "elr_el3", "pac", "semihosting", "sctlr_el12", "rndr"],
)  # fmt: skip
def test_what_only_the_engine_knows_has_no_name(make: Make, name: str) -> None:
    cpu = make()
    assert name not in cpu.register_names
    with pytest.raises(KeyError, match=name):
        cpu.read_register(name)
    with pytest.raises(KeyError, match=name):
        cpu.write_register(name, 0)


def test_each_is_read_and_what_is_not_read_only_set(make: Make) -> None:
    cpu = make()
    for name in cpu.register_names:
        with suppress(ValueError):  # it is read-only
            cpu.write_register(name, cpu.read_register(name))
    assert cpu.read_register("pc") == BASE


SEEN = {
    "nzcv": 0xF << 28,
    "daif": 0xA << 6,
    "fpcr": 3 << 22 | 1 << 25,
    "fpsr": 1 << 27 | 0x15,
    "sctlr_el2": 0x30C5_1834,
    "tcr_el2": 0x8080_3520,
    "vbar_el2": 0x800,
    "hcr_el2": RW | 1 << 4,
    "cptr_el2": 0x33FF,
    "tpidr_el0": 7,
    "tpidrro_el0": 8,
    "cntkctl_el1": 3,
    "cntv_cval_el0": 1 << 40,
    "cntv_ctl_el0": 2,
    "contextidr_el1": 9,
    "esr_el1": 0x5600_0000,
    "csselr_el1": 2,
    "mdscr_el1": 1 << 12,
    "pmselr_el0": 31,
}


@pytest.mark.parametrize(
    "name", [*SEEN, "currentel", "midr_el1", "mpidr_el1", "id_aa64isar0_el1", "ctr_el0", "isr_el1"]
)
def test_a_guest_reads_what_is_read_from_outside(make: Make, name: str) -> None:
    cpu = make(f"mrs x0, {name}", **({name: SEEN[name]} if name in SEEN else {}))
    seen = cpu.read_register(name)
    assert name not in SEEN or seen == SEEN[name]
    assert halt(cpu).read_register("x0") == seen


@pytest.mark.parametrize("name", SEEN)
def test_what_is_set_from_outside_is_what_a_guest_would_have_set(make: Make, name: str) -> None:
    every = [other for other in SEEN if other != "pmselr_el0"]
    # All ones, but where these switch on translation of addresses and traps.
    value = SEEN[name] if name in ("sctlr_el2", "hcr_el2") else (1 << 64) - 1
    guest = halt(make(f"msr {name}, x1", x1=value))
    by_guest = {each: guest.read_register(each) for each in every}
    outside = make(**{name: value})
    assert {each: outside.read_register(each) for each in every} == by_guest


def test_a_name_means_one_register_where_a_host_at_el2_has_others(make: Make) -> None:
    """With HCR_EL2.E2H, MRS of SCTLR_EL1 at EL2 reads SCTLR_EL2 (D5.1.5)."""
    cpu = make(
        "mrs x0, sctlr_el1", "mrs x1, cpacr_el1", "mrs x2, cntkctl_el1", "mrs x3, cntv_cval_el0",
        hcr_el2=RW | E2H, sctlr_el1=0x30D0_0800, sctlr_el2=0x30C5_0830, cpacr_el1=3 << 20,
        cptr_el2=0, cntkctl_el1=1, cnthctl_el2=2, cntv_cval_el0=3, cnthv_cval_el2=4,
    )  # fmt: skip
    assert [cpu.read_register(name) for name in ("sctlr_el1", "sctlr_el2")] == [
        0x30D0_0800,
        0x30C5_0830,
    ]
    assert cpu.read_register("cpacr_el1") == 3 << 20
    assert (cpu.read_register("cntkctl_el1"), cpu.read_register("cntv_cval_el0")) == (1, 3)
    halt(cpu)
    assert [cpu.read_register(f"x{n}") for n in range(4)] == [0x30C5_0830, 0, 2, 4]


def test_pstate_is_set_as_an_exception_return_sets_it(make: Make) -> None:
    cpu = make("mrs x0, currentel", "mrs x1, spsel", "mrs x2, nzcv", "mrs x3, daif")
    cpu.write_register("pstate", 0x6 << 28 | MASKED | EL1H)
    assert cpu.read_register("pstate") == 0x6 << 28 | MASKED | EL1H
    assert cpu.read_register("currentel") == 4
    halt(cpu)
    assert [cpu.read_register(f"x{n}") for n in range(4)] == [4, 1, 0x6 << 28, MASKED]


def test_each_level_keeps_its_stack_pointer(make: Make) -> None:
    cpu = make(sp_el0=0x10, sp_el1=0x20, sp_el2=0x30)
    assert cpu.read_register("sp") == 0x30
    for pstate, sp in ((EL1H, 0x20), (EL1H - 1, 0x10), (0, 0x10), (EL2H, 0x30), (EL2H - 1, 0x10)):
        cpu.write_register("pstate", MASKED | pstate)
        assert cpu.read_register("sp") == sp
    cpu.write_register("sp", 0x18)
    assert cpu.read_register("sp_el0") == 0x18
    cpu.write_register("sp_el0", 0x28)
    assert cpu.read_register("sp") == 0x28
    assert [cpu.read_register(f"sp_el{level}") for level in range(3)] == [0x28, 0x20, 0x30]


@pytest.mark.parametrize("nowhere", [0xD, 0x10, 0x1, 0x7], ids=["EL3", "AArch32", "EL0h", "bit 1"])
def test_a_level_that_is_not_there_is_not_entered(make: Make, nowhere: int) -> None:
    cpu = make(pstate=MASKED | EL1H)
    cpu.write_register("pstate", nowhere)
    assert cpu.read_register("pstate") == EL1H


def test_floating_point_that_was_switched_off_traps(make: Make) -> None:
    cpu = make(
        "fadd d0, d1, d2", "wfi", pstate=MASKED | EL1H, cptr_el2=0x33FF, cpacr_el1=0,
        vbar_el1=VECTORS,
    )  # fmt: skip
    halt(cpu)
    assert cpu.read_register("esr_el1") >> 26 == 7


def test_a_rounding_mode_set_from_outside_rounds(make: Make) -> None:
    one, three = 0x3FF0_0000_0000_0000, 0x4008_0000_0000_0000
    for mode, third in ((0, 0x3FD5_5555_5555_5555), (1, 0x3FD5_5555_5555_5556)):
        cpu = make("fdiv d0, d1, d2", cptr_el2=0x33FF, fpcr=mode << 22, v1=one, v2=three)
        assert halt(cpu).read_register("v0") == third
        assert cpu.read_register("fpsr") == 1 << 4


def test_an_interrupt_that_is_let_through_from_outside_is_taken(make: Make) -> None:
    cpu = make(pstate=MASKED | EL1H, vbar_el1=VECTORS)
    cpu.set_line(0, True)
    cpu.write_register("daif", 0)
    cpu.set_line(0, False)
    assert cpu.read_register("isr_el1") == 0
    cpu.set_line(0, True)
    assert isinstance(cpu.run(), Mmio)
    assert cpu.read_register("elr_el1") == BASE


PMU_ENABLED, CYCLES = 1, 1 << 31


@pytest.mark.parametrize(
    ("registers", "levels"),
    [
        ({"cntv_ctl_el0": 1}, 1 << 1),  # the time that it compares with has come
        ({"pmcr_el0": PMU_ENABLED, "pmintenset_el1": CYCLES, "pmovsset_el0": CYCLES}, 1 << 4),
    ],
)
def test_an_output_that_changes_is_told_when_the_cpu_runs(
    make: Make, registers: dict[str, int], levels: int
) -> None:
    cpu = make(**registers)
    exit_ = cpu.run()
    assert isinstance(exit_, Outputs)
    assert exit_.levels == levels
    halt(cpu)
