"""Comparisons with a processor of AMD's leave out what is listed, and with others nothing."""

from __future__ import annotations

import pytest

from tests.accel.kvm.assembler import assemble

from ..state import CODE, DATA, Case, State
from . import makers
from .native import GENERAL, INIT_FCW, INIT_MXCSR, MEMORY

CF, AF, ZF, OF = 1, 1 << 4, 1 << 6, 1 << 11
EVERY_FLAG = 0x8D5
ONE, NEXT, FAR = 0x3F80_0000, 0x3F80_0800, 0x3F81_0000
"""1 in single precision; a number that an estimate of 1 may be; one that it may not be."""


@pytest.fixture(params=[True, False], ids=["AMD", "another"])
def by_amd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the host's processor is taken for one of AMD's."""
    monkeypatch.setattr(makers, "AMD", request.param)
    return bool(request.param)


def case(text: str, **registers: int) -> Case:
    code = assemble(text)
    usual = dict.fromkeys(GENERAL, DATA) | {"rip": CODE, "rflags": 2}
    before = State(usual | registers, bytes(MEMORY))
    return Case(int.from_bytes(code, "little"), text, before, len(code))


def left_out(tried: Case, **bits: int) -> dict[str, int]:
    """The bits of registers in which a processor may differ from us, if it differs in these."""
    ours = tried.before
    theirs = ours.with_registers(**{n: ours.registers[n] ^ mask for n, mask in bits.items()})
    (after,) = makers.settled([tried], [ours], [theirs])
    return {name: after.registers[name] ^ theirs.registers[name] for name in bits}


@pytest.mark.parametrize(
    ("text", "rcx", "flags"),
    [
        ("add rax, rbx", 0, 0),
        ("bextr rax, rbx, rcx", 0, 0x14),
        ("lzcnt rax, rbx", 0, OF),
        ("shl rax, cl", 64, 0),
        ("shl eax, cl", 33, AF),
        ("shl rax, cl", 33, AF | OF),
        ("sar rax, 5", 0, AF),
        ("ror bl, 9", 0, OF),
        ("rol bl, 1", 0, 0),
        ("shld ax, bx, 16", 0, AF | OF),
        ("shld ax, bx, 17", 0, EVERY_FLAG),
        ("shld eax, ebx, 17", 0, AF | OF),
    ],
)
def test_open_flags(by_amd: bool, text: str, rcx: int, flags: int) -> None:
    found = left_out(case(text, rcx=rcx), rflags=EVERY_FLAG)
    assert found == {"rflags": flags if by_amd else 0}


def test_result_of_a_double_shift_by_more_than_the_width(by_amd: bool) -> None:
    found = left_out(case("shrd ax, bx, 20"), rax=0xFFFF_FFFF, rbx=1)
    assert found == {"rax": 0xFFFF if by_amd else 0, "rbx": 0}


@pytest.mark.parametrize(("theirs", "near"), [(NEXT, True), (FAR, False), (0, False)])
def test_estimates_are_near(by_amd: bool, theirs: int, near: bool) -> None:
    changed = ONE ^ theirs
    found = left_out(case("rcpps xmm0, xmm1", ymm0=ONE, ymm1=ONE), ymm0=changed)
    assert found == {"ymm0": changed if by_amd and near else 0}


@pytest.mark.parametrize("theirs", [0x7FC0_0002, ONE])
def test_one_of_several_nans_is_the_dot_product(by_amd: bool, theirs: int) -> None:
    changed = 0x7FC0_0001 ^ theirs
    tried = case("dpps xmm0, xmm1, 0x31", ymm0=0x7FC0_0001, ymm1=ONE << 32 | ONE)
    found = left_out(tried, ymm0=changed)
    assert found == {"ymm0": changed if by_amd and theirs != ONE else 0}


@pytest.mark.parametrize(
    ("text", "unmasked", "raised", "left_open"),
    [
        ("mulss xmm0, xmm0", 0x10, 0x30, 0x20),
        ("mulss xmm0, xmm0", 0x08, 0x28, 0x20),
        ("mulss xmm0, xmm0", 0x20, 0x30, 0),
        ("mulss xmm0, xmm0", 0x10, 0x20, 0),
        ("mulss xmm0, xmm0", 0x10, 0x10, 0),
        ("dpps xmm0, xmm0, 0xff", 0x02, 0x02, 0x3F),
    ],
)
def test_exceptions_that_trapped(
    by_amd: bool, text: str, unmasked: int, raised: int, left_open: int
) -> None:
    tried = case(text, mxcsr=(INIT_MXCSR ^ unmasked << 7) | raised)
    ours = State(tried.before.registers, trap=19)
    mxcsr = ours.registers["mxcsr"]
    theirs = ours.with_registers(mxcsr=mxcsr ^ 0x3F)
    (after,) = makers.settled([tried], [ours], [theirs])
    assert after.registers["mxcsr"] ^ theirs.registers["mxcsr"] == (left_open if by_amd else 0)


def test_remainder_of_a_denormal_operand_that_is_unmasked(by_amd: bool) -> None:
    for unmasked in (True, False):
        fcw = INIT_FCW ^ 2 if unmasked else INIT_FCW
        found = left_out(case("fprem", fcw=fcw, fsw=2), fsw=0x4700)
        assert found == {"fsw": 0x4100 if by_amd and unmasked else 0}


@pytest.mark.parametrize(
    ("text", "traps_alike"),
    [
        ("sha1msg1 xmm0, [rbx + 1]", False),
        ("sha1msg1 xmm0, [rbx + 16]", True),
        ("sha1msg1 xmm0, xmm1", True),
        ("aesenc xmm0, [rbx + 1]", True),
    ],
)
def test_misaligned_operands_of_sha(by_amd: bool, text: str, traps_alike: bool) -> None:
    assert makers.comparable(case(text)) is (traps_alike or not by_amd)
