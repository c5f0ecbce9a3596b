"""Registers set from outside: no value gets in that a guest could not have brought about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.base.clock import RealClock
from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu, Halt, Mmio
from tests.accel.bare_cpu import ENGINES, Engine, Make, cpu_before, named

BASE, DEVICE = 0x8000_0000, 0x1000_0000
ALL = (1 << 64) - 1
FS_DIRTY, MPP_MACHINE = 3 << 13, 3 << 11
ILLEGAL_INSTRUCTION = 2
ONE, THREE = 0x3FF0_0000_0000_0000, 0x4008_0000_0000_0000
THIRD_DOWN, THIRD_UP = 0x3FD5_5555_5555_5555, 0x3FD5_5555_5555_5556


@pytest.fixture(params=ENGINES, ids=named)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a hart in M-mode before the instructions given, as it is after its reset."""
    with cpu_before(request.param, rv64, BASE, clock=RealClock()) as make:
        yield make


def halt(cpu: Cpu) -> Cpu:
    assert isinstance(cpu.run(), Halt)
    return cpu


# -- the program counter, and what becomes one


def test_the_program_counter_is_aligned(make: Make) -> None:
    cpu = make("addi a0, zero, 7", "wfi")
    cpu.write_register("pc", BASE | 1)
    assert cpu.read_register("pc") == BASE
    assert halt(cpu).read_register("a0") == 7


@pytest.mark.parametrize(("register", "leave"), [("mepc", "mret"), ("sepc", "sret")])
def test_a_return_goes_to_an_aligned_address(make: Make, register: str, leave: str) -> None:
    cpu = make(leave, "addi a0, a0, 1", "addi a0, a0, 2", "wfi")
    cpu.write_register("mstatus", MPP_MACHINE | 1 << 8)
    cpu.write_register(register, BASE + 9)
    cpu.write_register("pmpaddr0", (1 << 54) - 1)
    cpu.write_register("pmp0cfg", 0x1F)
    assert cpu.read_register(register) == BASE + 8
    assert halt(cpu).read_register("a0") == 2


def test_a_trap_goes_to_an_aligned_address(make: Make) -> None:
    cpu = make("ecall", "addi a0, a0, 1", "addi a0, a0, 2", "wfi")
    cpu.write_register("mtvec", (BASE + 8) | 2)
    assert cpu.read_register("mtvec") == BASE + 8
    assert halt(cpu).read_register("a0") == 2


# -- values that mean nothing


@pytest.mark.parametrize(
    ("register", "value"),
    [
        ("priv", 2),
        ("priv", 255),
        ("mstatus", 2 << 11),
        ("satp", 10 << 60),
        ("pmp3cfg", 2),
        ("pmp3cfg", 0x11),
    ],
)
def test_a_value_without_meaning_is_refused(make: Make, register: str, value: int) -> None:
    cpu = make("wfi")
    before = cpu.read_register(register)
    with pytest.raises(ValueError, match="means nothing"):
        cpu.write_register(register, value)
    assert cpu.read_register(register) == before
    halt(cpu)


@pytest.mark.parametrize(
    ("register", "written", "kept"),
    [
        ("mstatus", ALL, 0x8000_000A_007E_79AA),
        ("medeleg", ALL, 0xB3FF),
        ("mideleg", ALL, 0x222),
        ("mie", ALL, 0xAAA),
        ("mip", ALL, 0x222),
        ("mcounteren", ALL, 7),
        ("scounteren", ALL, 7),
        ("menvcfg", ALL, 0xA000_0000_0000_00F1),
        ("senvcfg", ALL, 0xF1),
        ("satp", 0x8FFF_FFFF_FFFF_FFFF, 0x8FFF_FFFF_FFFF_FFFF),
        ("pmpaddr15", ALL, (1 << 54) - 0x400),
        ("stvec", ALL, ALL - 2),
        ("sepc", ALL, ALL - 1),
        ("frm", 0xFF, 7),
    ],
)
def test_bits_that_a_register_does_not_have_stay_zero(
    make: Make, register: str, written: int, kept: int
) -> None:
    cpu = make("wfi")
    cpu.write_register(register, written)
    assert cpu.read_register(register) == kept


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_value_that_does_not_fit_is_refused(make: Make, value: int) -> None:
    with pytest.raises(OverflowError):
        make("wfi").write_register("pc", value)


# -- what follows from what was set


def test_floating_point_that_was_switched_off_traps(make: Make) -> None:
    program = ("csrrs zero, mstatus, a1", "fadd.d fa0, fa1, fa2", "wfi")
    cpu = make(*program, "csrrs a0, mcause, zero", "wfi")
    cpu.write_register("a1", FS_DIRTY)
    halt(cpu)
    for name, value in (("mstatus", 0), ("mtvec", BASE + 12), ("pc", BASE + 4)):
        cpu.write_register(name, value)
    assert halt(cpu).read_register("a0") == ILLEGAL_INSTRUCTION


@pytest.mark.parametrize(("frm", "third"), [(0, THIRD_DOWN), (2, THIRD_DOWN), (3, THIRD_UP)])
def test_a_rounding_mode_set_from_outside_rounds(make: Make, frm: int, third: int) -> None:
    cpu = make("fdiv.d fa0, fa1, fa2", "wfi")
    for name, value in (("mstatus", FS_DIRTY), ("frm", frm), ("fa1", ONE), ("fa2", THREE)):
        cpu.write_register(name, value)
    assert halt(cpu).read_register("fa0") == third


def test_protection_set_from_outside_protects(make: Make) -> None:
    cpu = make("ld a0, 0(a1)", "wfi", "csrrs a0, mcause, zero", "wfi")
    cpu.write_register("a1", BASE)
    cpu.write_register("mtvec", BASE + 8)
    cpu.write_register("pmpaddr0", BASE + 0x1000 >> 2)
    cpu.write_register("pmp0cfg", 0x8C)  # locked, up to that address, execute only
    assert halt(cpu).read_register("a0") == 5


def test_another_place_gives_up_the_access_under_way(make: Make) -> None:
    cpu = make("lw a0, 0(a1)", "lw a2, 4(a1)", "wfi")
    cpu.write_register("a1", DEVICE)
    first = cpu.run()
    assert isinstance(first, Mmio)
    first.value = 1
    cpu.write_register("pc", BASE + 4)
    second = cpu.run()
    assert isinstance(second, Mmio)
    assert second.address == DEVICE + 4
    second.value = 2
    halt(cpu)
    assert (cpu.read_register("a0"), cpu.read_register("a2")) == (0, 2)


# -- registers as the manual has them

OURS: tuple[str, ...] = (
    "mip_soft",
    "fp_ready",
    "timer_fired",
    "reserved_size",
    "reserved_low",
    "pmp_active",
)
OURS += ("mcycle_offset", "hartid", "firmware_calls", "line", "line9", "nothing")


def test_what_only_the_engine_knows_has_no_name(make: Make) -> None:
    cpu = make("wfi")
    names = cpu.register_names
    assert {"pc", "zero", "a0", "ft11", "priv", "mip", "sstatus", "fcsr", "time"} <= set(names)
    assert len(names) == len(set(names))
    for name in OURS:
        assert name not in names
        with pytest.raises(KeyError, match=name):
            cpu.read_register(name)
        with pytest.raises(KeyError, match=name):
            cpu.write_register(name, 0)


def by_guest(make: Make, csr: str) -> Cpu:
    """What a guest reads is what is read from outside at the same moment."""
    return make(f"csrrs a0, {csr}, zero", "wfi")


CSRS = {
    "mstatus": FS_DIRTY | 1 << 19,
    "sstatus": FS_DIRTY | 1 << 18,
    "mip": 0x22,
    "sip": 0x22,
    "mie": 0xAAA,
    "sie": 0x222,
    "fcsr": 0xFF,
    "fflags": 0x15,
    "frm": 7,
    "satp": 8 << 60 | 5,
    "menvcfg": 1 << 63,
    "stimecmp": 12345,
    "pmpaddr1": 0x2000_0FFF,
    "pmpcfg0": 0x1F_0B,
}


@pytest.mark.parametrize("csr", [*CSRS, "misa", "mhartid", "mvendorid", "mhpmevent3"])
def test_a_guest_reads_what_is_read_from_outside(make: Make, csr: str) -> None:
    cpu = by_guest(make, csr)
    for name, value in (("mideleg", 0x222), ("mstatus", FS_DIRTY)):
        cpu.write_register(name, value)
    if csr in CSRS:
        cpu.write_register(csr, CSRS[csr])
    seen = cpu.read_register(csr)
    assert halt(cpu).read_register("a0") == seen


@pytest.mark.parametrize("csr", CSRS)
def test_what_is_set_from_outside_is_what_a_guest_would_have_set(make: Make, csr: str) -> None:
    cpu = make(f"csrrw zero, {csr}, a1", "wfi")
    prepared = (("mideleg", 0x222), ("mstatus", FS_DIRTY), ("a1", CSRS[csr]))
    for name, value in prepared:
        cpu.write_register(name, value)
    halt(cpu)
    by_itself = {name: cpu.read_register(name) for name in CSRS}
    cpu.reset()
    for name, value in (*prepared, (csr, CSRS[csr])):
        cpu.write_register(name, value)
    assert {name: cpu.read_register(name) for name in CSRS} == by_itself


def test_registers_are_read_whatever_the_mode_allows_the_guest(make: Make) -> None:
    cpu = make("wfi")
    cpu.write_register("priv", 0)
    cpu.write_register("mcounteren", 0)
    for name in ("fcsr", "satp", "stimecmp", "time", "cycle", "instret"):
        assert cpu.read_register(name) >= 0
    cpu.write_register("fcsr", 0x61)
    assert (cpu.read_register("fcsr"), cpu.read_register("frm")) == (0x61, 3)


def test_counters_count_and_are_set(make: Make) -> None:
    cpu = make("addi a0, zero, 1", "addi a0, a0, 1", "wfi")
    cpu.write_register("minstret", 1000)
    before = cpu.read_register("minstret")
    after = halt(cpu).read_register("minstret")
    assert (before in (999, 1000), after - before) == (True, 3)
    assert cpu.read_register("time") < cpu.read_register("time") + 1


@pytest.mark.parametrize("name", ["time", "cycle", "mhartid", "marchid"])
def test_what_is_read_only_is_not_set(make: Make, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is read-only"):
        make("wfi").write_register(name, 1)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_value_that_does_not_fit_into_a_view_is_refused(make: Make, value: int) -> None:
    with pytest.raises(OverflowError, match="does not fit in sstatus"):
        make("wfi").write_register("sstatus", value)


def test_an_interrupt_made_pending_from_outside_is_taken(make: Make) -> None:
    cpu = make("wfi", "addi a0, zero, 1", "addi a1, zero, 1", "csrrw zero, mip, zero", "wfi")
    for name, value in (("mtvec", BASE + 8), ("mie", 2), ("mstatus", 8), ("mip", 2)):
        cpu.write_register(name, value)
    assert (halt(cpu).read_register("a0"), cpu.read_register("a1")) == (0, 1)
    assert cpu.read_register("mcause") == 1 << 63 | 1


# -- saved states


def saved(cpu: Cpu) -> dict[str, object]:
    return dict(cpu.save())


def test_a_saved_state_is_looked_at(make: Make) -> None:
    cpu = make("addi a0, zero, 7", "wfi")
    state = saved(cpu)
    registers = state["registers"]
    assert isinstance(registers, dict)
    cpu.load(state | {"registers": registers | {"pc": [BASE | 1]}})
    assert cpu.read_register("pc") == BASE
    assert halt(cpu).read_register("a0") == 7


@pytest.mark.parametrize(
    "damage",
    [
        {"registers": {}},
        {"registers": None},
        {"flags": 1 << 20},
        {"retired": -1},
        {"answers": [0] * 100},
        {"answers": [1 << 64]},
        {"answers": "x"},
        {"jitter": None},
    ],
)
def test_what_is_no_state_is_refused(make: Make, damage: dict[str, object]) -> None:
    cpu = make("wfi")
    before = saved(cpu)
    with pytest.raises(ValueError, match="not the state of a riscv64 vCPU"):
        cpu.load(before | damage)
    assert saved(cpu) == before


@pytest.mark.parametrize(
    ("register", "values"), [("priv", [2]), ("x", [0]), ("x", [0] * 33), ("x", [1.5] * 32)]
)
def test_registers_that_are_none_are_refused(
    make: Make, register: str, values: list[object]
) -> None:
    cpu = make("wfi")
    state = saved(cpu)
    registers = state["registers"]
    assert isinstance(registers, dict)
    with pytest.raises(ValueError, match="not the state"):
        cpu.load(state | {"registers": registers | {register: values}})
    halt(cpu)


def test_floating_point_goes_on_from_a_saved_state(make: Make) -> None:
    third = "fdiv.d fa3, fa1, fa2"
    cpu = make(third, "wfi", third, "csrrs a0, fflags, zero", "wfi")
    for name, value in (("mstatus", FS_DIRTY), ("frm", 3), ("fa1", ONE), ("fa2", THREE)):
        cpu.write_register(name, value)
    state = saved(halt(cpu))
    cpu.reset()
    cpu.load(state)
    cpu.write_register("fa3", 0)
    assert halt(cpu).read_register("fa3") == THIRD_UP
    assert cpu.read_register("a0") == 1


@pytest.mark.parametrize("other", ENGINES, ids=named)
def test_a_state_saved_by_one_engine_is_loaded_by_another(make: Make, other: Engine) -> None:
    cpu = make("addi a0, zero, 7", "wfi")
    state = saved(halt(cpu))
    accelerator = other("riscv64", clock=RealClock())
    copy = accelerator.add_cpu(0)
    copy.load(state)
    assert saved(copy) | {"jitter": 0} == state | {"jitter": 0}
    accelerator.close()
