"""A64 instructions agree with QEMU's user emulation, in every executor."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from bimetal.isa.arm import a64
from bimetal.isa.describe import Insn
from tests.host import programs

from ..state import Case, Executor, State, differences
from . import qemu_oracle
from .cases import cases, instructions
from .executors import EXECUTORS, RegionExecutor, RunExecutor

pytestmark = programs(qemu_oracle.EMULATOR, qemu_oracle.ASSEMBLER)

MODES = {"udf", "wfi", "wfe", "yield"}
"""Instructions whose outcome depends on the mode."""


def placed(insn: Insn) -> bool:
    """Whether its outcome depends on where the instruction stands: `tests.agree.test_unicorn`."""
    text = insn.template.text
    return insn.name in ("br", "blr", "ret") or ":rel}" in text or ":page}" in text


def alone(insn: Insn) -> bool:
    """A conditional store without its load fails, and looks at no memory here, and does in QEMU."""
    return (
        insn.extension == "exclusives"
        and insn.name.startswith("st")
        and "Rs" in insn.pattern.widths
    )


def elsewhere(insn: Insn) -> bool:
    """Whether other tests are about it."""
    return insn.name in MODES or placed(insn) or alone(insn)


PRIVILEGED = {
    *("system", "exceptions", "maintenance"),
    *(
        "dit",
        "dpb",
        "dpb2",
        "hcx",
        "pan",
        "pan2",
        "rng",
        "sb",
        "specres",
        "ssbs",
        "tlbios",
        "tlbirange",
        "uao",
        "vhe",
        "xs",
    ),
}
"""Chapters that a process sees nothing of."""
LACKING = {"mops", "pauth", "pacga"}
"""What QEMU 7.2 has not, or has with keys that nobody knows: `tests/isa/test_arm_extensions.py` has
a model of MOPS, `tests/isa/test_arm_pauth.py` asks its system emulation."""

CHAPTERS = sorted(
    {insn.extension for insn in a64.insns if not elsewhere(insn)} - PRIVILEGED - LACKING
)


QUICK = EXECUTORS[:4]
"""Those that are tried every time: both levels of regions differ in how they keep registers."""

Outcomes = dict[tuple[str, int], list[State]]
"""By chapter and the number of encodings of each instruction."""


@cache
def table(chapter: str, words: int, states: int) -> list[Case]:
    """Cases of a chapter."""
    return [
        case
        for insn in instructions(chapter)
        if not elsewhere(insn)
        for case in cases(insn, words, states)
    ]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """QEMU's states, as far as a test has asked for them."""
    return {}


def corrected(tried: list[Case], states: list[State]) -> list[State]:
    """An oracle's states, but for what is wrong in QEMU 7.2 and in Unicorn: FCVTZS of a lone half
    to a fixed point number leaves the sign in the bits above it, which are to be cleared (C7.2)."""
    for case, state in zip(tried, states, strict=True):
        if case.word & 0xFFF0_FC00 == 0x5F10_FC00:
            state.registers[f"v{case.word & 31}"] &= 0xFFFF
    return states


def emulated(tried: list[Case], directory: Path) -> list[State]:
    """QEMU's states."""
    return corrected(tried, qemu_oracle.execute(tried, directory))


def agree(tried: list[Case], got: list[State], want: list[State]) -> None:
    wrong = differences(tried, got, want)
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tried)} differ", *wrong[:10]])


@pytest.mark.parametrize("executor", QUICK, ids=lambda executor: executor.name)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_agrees(chapter: str, executor: Executor, outcomes: Outcomes, tmp_path: Path) -> None:
    # Regions are compiled one by one; runs have the code of handlers.
    words = 1 if isinstance(executor, RegionExecutor | RunExecutor) else 3
    tried = table(chapter, words, states=6)
    if (chapter, words) not in outcomes:
        outcomes[chapter, words] = emulated(tried, tmp_path)
    agree(tried, executor.execute(tried), outcomes[chapter, words])


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_agrees_at_length(chapter: str, executor: Executor, tmp_path: Path) -> None:
    tried = table(chapter, words=24, states=60)
    agree(tried, executor.execute(tried), emulated(tried, tmp_path))
