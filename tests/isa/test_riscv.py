"""What a table of operands does not show of RISC-V: reservations, checks, permissions."""

from __future__ import annotations

import pytest

from bimetal.ir import fp
from bimetal.isa.riscv import rv64
from bimetal.isa.riscv.extensions import EXTENSIONS, FEATURES, MISA
from bimetal.isa.riscv.traps import ILLEGAL_INSTRUCTION, STORE_MISALIGNED

from .bare import MEMORY, Bare

OFF, CLEAN, DIRTY = 0, 2 << 13, 3 << 13
ILLEGAL = (ILLEGAL_INSTRUCTION, 0)
MACHINE, SUPERVISOR, USER = 3, 1, 0


@pytest.fixture
def hart() -> Bare:
    hart = Bare(rv64)
    hart["priv"] = MACHINE
    hart["a1"], hart["a2"] = MEMORY + 8, 0x1234_5678_9ABC_DEF0
    return hart


def with_fp(hart: Bare, status: int = DIRTY, frm: int = 0) -> Bare:
    hart["mstatus"], hart["frm"] = status, frm
    hart["fp_ready"] = int(status == DIRTY and frm < 4)
    return hart


WITHOUT_INSTRUCTIONS = {"zicntr", "sstc", "svadu", "svnapot"}


def test_what_is_said_to_be_there_is_what_is_described() -> None:
    described = {insn.extension for insn in rv64.insns} - {"privileged"}
    assert described == set(EXTENSIONS) - WITHOUT_INSTRUCTIONS
    assert set(FEATURES) < described
    assert 2 << 62 | sum(1 << ord(letter) - ord("A") for letter in "ACDFIMSU") == MISA


# -- lr and sc (I 14.2)


def test_store_conditional_succeeds_once(hart: Bare) -> None:
    hart.do("lr.d a0, (a1)", "sc.d a3, a2, (a1)")
    assert hart["a3"] == 0
    assert hart.memory[8:16] == (0x1234_5678_9ABC_DEF0).to_bytes(8, "little")
    hart.do("sc.d a3, a1, (a1)")
    assert hart["a3"] == 1
    assert hart.memory[8:16] == (0x1234_5678_9ABC_DEF0).to_bytes(8, "little")


@pytest.mark.parametrize(
    "between",
    [
        "sw a2, 0(a1)",  # somebody else's store
        "addi a1, a1, 8",  # another address
        "sc.w zero, a2, (a4)",  # a store conditional that failed
    ],
)
def test_store_conditional_fails_after(between: str, hart: Bare) -> None:
    hart["a4"] = MEMORY + 64
    hart.do("lr.w a0, (a1)", between)
    content = bytes(hart.memory)
    hart.do("sc.w a3, a2, (a1)")
    assert hart["a3"] == 1
    assert hart.memory == content


def test_reservation_is_of_one_size(hart: Bare) -> None:
    assert hart.do("lr.w a0, (a1)", "sc.d a3, a2, (a1)")["a3"] == 1


def test_load_reserved_extends_the_sign(hart: Bare) -> None:
    hart.memory[8:12] = (0x8000_0001).to_bytes(4, "little")
    assert hart.do("lr.w.aqrl a0, (a1)")["a0"] == 0xFFFF_FFFF_8000_0001


def test_store_conditional_is_aligned_even_if_it_fails(hart: Bare) -> None:
    hart["a1"] += 2
    assert hart.trap("sc.w a3, a2, (a1)") == (STORE_MISALIGNED, MEMORY + 10)


# -- floating-point state


@pytest.mark.parametrize(
    "line",
    [
        "fadd.s fa0, fa1, fa2",
        "fcvt.w.d a0, fa0, rtz",
        "fcvt.w.d a0, fa0",
        "fmv.x.w a0, fa0",
        "feq.d a0, fa0, fa1",
        "flw fa0, 0(a1)",
        "c.fsd fa0, 0(a1)",
    ],
)
def test_illegal_while_off(line: str, hart: Bare) -> None:
    assert with_fp(hart, OFF).trap(line) == ILLEGAL
    assert hart["mstatus"] == OFF


@pytest.mark.parametrize("line", ["fsgnj.s fa0, fa1, fa2", "fld fa0, 0(a1)", "fmv.w.x fa0, a0"])
def test_writing_makes_dirty(line: str, hart: Bare) -> None:
    with_fp(hart, CLEAN).do(line)
    assert (hart["mstatus"], hart["fp_ready"]) == (DIRTY, 1)


@pytest.mark.parametrize("line", ["fsd fa0, 0(a1)", "fmv.x.d a0, fa0", "fclass.s a0, fa0"])
def test_reading_leaves_clean(line: str, hart: Bare) -> None:
    with_fp(hart, CLEAN).do(line)
    assert hart["mstatus"] == CLEAN


def test_faulting_load_leaves_clean(hart: Bare) -> None:
    hart["a1"] = 0
    assert with_fp(hart, CLEAN).trap("fld fa0, 0(a1)") == (99, 0)
    assert hart["mstatus"] == CLEAN


@pytest.mark.parametrize("line", ["fadd.s fa0, fa1, fa2, rm5", "fcvt.l.d a0, fa0, rm6"])
def test_reserved_rounding_modes_are_illegal(line: str, hart: Bare) -> None:
    assert with_fp(hart).trap(line) == ILLEGAL


@pytest.mark.parametrize("frm", [5, 6, 7])
def test_reserved_dynamic_modes_are_illegal(frm: int, hart: Bare) -> None:
    assert with_fp(hart, frm=frm).trap("fdiv.d fa0, fa1, fa2") == ILLEGAL
    hart.do("fdiv.d fa0, fa1, fa2, rne", "fsgnj.d fa0, fa1, fa2")


def test_static_mode_does_not_stay(hart: Bare) -> None:
    hart["fa1"], hart["fa2"] = 0x3FF0_0000_0000_0000, 0x4008_0000_0000_0000
    with_fp(hart).do("fdiv.d fa0, fa1, fa2, rup", "fdiv.d fa3, fa1, fa2")
    assert hart["fa0"] == hart["fa3"] + 1 == 0x3FD5_5555_5555_5556


def test_ties_away_from_zero(hart: Bare) -> None:
    hart["fa1"] = 0x4004_0000_0000_0000  # 2.5
    with_fp(hart, frm=4).do("fcvt.w.d a0, fa1", "fcvt.w.d a2, fa1, rne")
    assert (hart["a0"], hart["a2"], hart.environment.flags) == (3, 2, fp.NX)


# -- cache blocks (I 19)


def test_zeroed_block_is_aligned(hart: Bare) -> None:
    hart.memory[:] = b"\xff" * len(hart.memory)
    hart["a0"] = MEMORY + 64 + 17
    hart.do("cbo.zero (a0)")
    assert bytes(hart.memory[:192]) == b"\xff" * 64 + bytes(64) + b"\xff" * 64


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("cbo.zero (a1)", 1 << 7),
        ("cbo.clean (a1)", 1 << 6),
        ("cbo.flush (a1)", 1 << 6),
        ("cbo.inval (a1)", 1 << 4),
    ],
)
def test_cache_blocks_need_permission(line: str, field: int, hart: Bare) -> None:
    hart.do(line)
    hart["priv"] = USER
    hart["senvcfg"] = field
    assert hart.trap(line) == ILLEGAL
    hart["menvcfg"] = field
    hart.do(line)
    hart["senvcfg"] = 0
    assert hart.trap(line) == ILLEGAL
    hart["priv"] = SUPERVISOR
    hart.do(line)


# -- no oracle at hand knows these


@pytest.mark.parametrize(("condition", "eqz", "nez"), [(0, 0, 7), (1, 7, 0), (1 << 63, 7, 0)])
def test_conditional_zero(condition: int, eqz: int, nez: int, hart: Bare) -> None:
    hart["a1"], hart["a2"] = 7, condition
    hart.do("czero.eqz a3, a1, a2", "czero.nez a4, a1, a2")
    assert (hart["a3"], hart["a4"]) == (eqz, nez)


@pytest.mark.parametrize("word", [0x0000, 0x9C41, 0x2001, 0x6101, 0x8002, 0x4002, 0xFFFF_FFFF])
def test_reserved_encodings_mean_nothing(word: int) -> None:
    assert rv64.decode(word) is None


def test_text_out_of_range_is_refused() -> None:
    for line in ("addi a0, a0, 2048", "c.lw t0, 0(a0)", "slli a0, a0, 64", "lui a0, -1"):
        with pytest.raises(ValueError, match="no instruction"):
            rv64.assemble(line)
