"""Which registers and instructions of the system are there, and whom an access traps to: every word
of that part of the encodings (C4.1.93), at each level, beside QEMU's system emulation.

pytest -m slow tests/isa/test_arm_traps.py      # every word in every setting
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.isa.arm import a64
from tests.host import programs

from .arm_machine import ASSEMBLER, LINKER
from .arm_results import QEMU
from .arm_words import E2H, RW, TGE, Fate, Setting, bits, fates

pytestmark = programs(ASSEMBLER, LINKER, QEMU)

UNDEFINED, SYSTEM = 0x00, 0x18
ABORTS = (0x20, 0x21, 0x24, 0x25)

FOR_EL0 = 0x30D0_0800 | bits(9, 14, 15, 16, 18, 26)
"""SCTLR_ELx that lets EL0 do all that can be allowed."""
TRAPS = RW | bits(13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 30)
"""HCR_EL2 that traps all that QEMU 7.2 knows of but keys."""
EVT = bits(49, 50, 52, 54, 55)
KEYS = bits(40, 41)
HOST = RW | E2H | TGE
SETTINGS = {
    "EL1": Setting(1),
    "EL0": Setting(0),
    "EL2": Setting(2),
    "EL0, which may": Setting(0, {"sctlr_el1": FOR_EL0, "pmuserenr_el0": 15, "hcr_el2": RW | KEYS}),
    "EL0, which may nothing": Setting(
        0, {"cntkctl_el1": 0, "cnthctl_el2": 0, "mdscr_el1": 1 << 12, "cpacr_el1": 0}
    ),
    "EL1, which may nothing": Setting(1, {"cnthctl_el2": 0, "cpacr_el1": 1 << 20}),
    "EL0 of a guest": Setting(
        0, {"hcr_el2": TRAPS | KEYS, "sctlr_el1": FOR_EL0, "mdcr_el2": 0xFE6, "cnthctl_el2": 0}
    ),
    "EL1 of a guest": Setting(
        1, {"hcr_el2": TRAPS, "mdcr_el2": 0xFE6, "cptr_el2": 0x37FF | 1 << 31, "cnthctl_el2": 0}
    ),
    "EL1 of a guest, EVT": Setting(1, {"hcr_el2": RW | EVT}),
    "EL0, half of floating point": Setting(0, {"cpacr_el1": 1 << 20}),
    "EL0, whose exceptions go to EL2": Setting(0, {"hcr_el2": RW | TGE, "cpacr_el1": 0}),
    "EL0, all goes to EL2": Setting(0, {"hcr_el2": TRAPS | TGE, "sctlr_el1": FOR_EL0}),
    "host": Setting(2, {"hcr_el2": RW | E2H, "cptr_el2": 3 << 20}),
    "EL0 of a host": Setting(
        0, {"hcr_el2": HOST | TRAPS, "cptr_el2": 1 << 20, "cnthctl_el2": 0, "cpacr_el1": 0}
    ),
    "EL0 of a host, which may": Setting(
        0, {"hcr_el2": HOST | TRAPS, "cptr_el2": 3 << 20 | 1 << 31, "cnthctl_el2": 0x303,
            "sctlr_el2": FOR_EL0, "pmuserenr_el0": 15},
    ),
    "EL1 under a host": Setting(
        1, {"hcr_el2": TRAPS | E2H, "cptr_el2": 1 << 31, "mdcr_el2": 0xFE6, "cnthctl_el2": 0}
    ),
}  # fmt: skip
QUICK = ("EL0, which may nothing", "EL1 of a guest", "EL0, all goes to EL2", "EL2",
         "EL0 of a host, which may")  # fmt: skip

Place = tuple[int, int, int, int, int]
"""op0, op1, CRn, CRm, op2."""


def place_of(word: int) -> Place:
    return (word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7)


QEMUS_ALONE: set[Place] = {
    *((3, op1, 13, 0, 7) for op1 in (0, 3, 4, 5)),  # SCXTNUM_ELx (FEAT_CSV2_2)
    *((3, 0, 10, 4, op2) for op2 in (0, 1, 2, 3, 7)),  # FEAT_LOR
    (3, 0, 12, 1, 1), (3, 4, 12, 1, 1), (3, 4, 5, 2, 3), (3, 0, 5, 3, 0),  # FEAT_RAS
    (3, 0, 9, 14, 6),  # PMMIR_EL1 (FEAT_PMUv3p4)
    # What EL2 has for EL1's AArch32.
    (2, 4, 0, 7, 0), (3, 4, 3, 0, 0), (3, 4, 5, 0, 1), (3, 4, 5, 3, 0),
    *((3, 4, 4, 3, op2) for op2 in range(4)),
}  # fmt: skip
"""Registers of extensions that are declared absent here."""
OURS_ALONE: set[Place] = {
    (2, 0, 0, 0, 2), (2, 0, 0, 3, 2), (2, 0, 0, 6, 2), (2, 3, 0, 4, 0), (2, 3, 0, 5, 0),
    (2, 0, 1, 4, 4), (2, 0, 7, 8, 6), (2, 0, 7, 9, 6), (2, 0, 7, 14, 6),  # of debug (D17.3)
    (3, 3, 14, 0, 5), (3, 3, 14, 0, 6),  # FEAT_ECV
}  # fmt: skip
"""Registers that QEMU 7.2 has not."""


def ours_alone(word: int, place: Place) -> bool:
    """Whether QEMU 7.2 has no such instruction: TLBI and DSB with nXS."""
    return place in OURS_ALONE or place[:3] == (1, place[1], 9) or word & ~0xC00 == 0xD503_323F


def qemus_alone(word: int, place: Place, setting: Setting) -> bool:
    """Whether QEMU 7.2 has what the manual has not, or leaves open."""
    op0, op1, crn, _, _ = place
    if op0 == 1 and word & 31 != 31 and crn in (7, 8):
        return True  # a register where none belongs (C5.3.1): undefined, or not looked at
    if op0 == 3 and op1 == 5 and not setting.of("hcr_el2") & E2H:
        return True  # names that a host alone has
    return place in QEMUS_ALONE or (op0, op1, crn) == (3, 1, 11) or (op0, op1, crn) == (3, 1, 15)


def by_manual(word: int, place: Place, setting: Setting, mine: Fate, theirs: Fate) -> bool:
    """Whether the manual has what QEMU 7.2 does not do."""
    op0, op1, crn, crm, _ = place
    if mine.cause == UNDEFINED and theirs.cause == SYSTEM and word >> 21 & 1:
        # FEAT_IDST, which is declared absent.
        return op0 == 3 and op1 in (0, 1, 3) and crn == 0 and crm < 8
    if mine.cause in ABORTS:
        return op0 == 1 and crn == 7  # there, maintenance of caches does nothing
    if mine.cause != SYSTEM:
        return False
    if word & 0xFFFF_F0DF == 0xD503_40DF:
        # QEMU 7.2 exchanges op1 and op2 of DAIFSet and DAIFClr.
        op1, op2 = mine.esr >> 14 & 7, mine.esr >> 17 & 7
        exchanged = mine.esr & ~(0x3F << 14) | op1 << 17 | op2 << 14
        return (op1, op2) == place[1::3] and exchanged == theirs.esr and mine.level == theirs.level
    if place == (2, 3, 0, 1, 0):
        return bool(setting.of("mdscr_el1") >> 12 & 1)  # MDSCR_EL1.TDCC
    if op0 == 3 and op1 == 3 and (crn == 9 or (crn == 14 and crm >= 8)):
        return mine.level == 2 and setting.of("pmuserenr_el0") != 0  # MDCR_EL2.TPM
    return mine.level == 2 and bool(setting.of("hcr_el2") & EVT)


def settled(word: int, setting: Setting, mine: Fate, theirs: Fate) -> bool:
    """Whether two fates are the same, or differ as they should."""
    if mine == theirs:
        return True
    if mine.cause == theirs.cause and mine.cause in ABORTS:
        return mine.level == theirs.level
    place = place_of(word)
    if mine.cause == UNDEFINED and qemus_alone(word, place, setting):
        return True
    if theirs.cause == UNDEFINED and ours_alone(word, place):
        return True
    return by_manual(word, place, setting, mine, theirs)


def may_wait(setting: Setting) -> bool:
    """Whether WFI is not trapped, and would wait for ever."""
    hcr = setting.of("hcr_el2")
    of_host = hcr & HOST == HOST
    control = setting.of("sctlr_el2" if of_host else "sctlr_el1")
    trapped = (hcr & bits(13) and not of_host) or (not setting.level and not control >> 16 & 1)
    return setting.level == 2 or not trapped


def harmless(word: int, setting: Setting) -> bool:
    """Whether what comes next can be told after it."""
    if word == 0xD503_207F:
        return not may_wait(setting)
    moves_vectors = word & ~31 in (0xD51C_C000, 0xD518_C000)
    return setting.level < 2 or not moves_vectors


def words(setting: Setting, register: int, rng: random.Random | None) -> Iterator[int]:
    """Every word of the system with a register, or some: those that are described, and others."""
    described = {insn.pattern.match >> 5 & (1 << 27) - 1 for insn in a64.insns}
    for number in range(0xD500_0000 >> 5, 0xD540_0000 >> 5):
        word = number << 5 | register
        picked = rng is None or number in described or rng.random() < 0.05
        if picked and harmless(word, setting):
            yield word


def compare(engine: str, name: str, register: int, some: bool, folder: Path) -> None:
    setting = SETTINGS[name]
    rng = random.Random(register) if some else None
    tried = list(words(setting, register, rng))
    wrong = [
        f"{word:#x} {place_of(word)}: {mine}, QEMU {theirs}"
        for word, mine, theirs in fates(engine, tried, setting, folder)
        if not settled(word, setting, mine, theirs)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tried)}", *wrong[:20]])


@pytest.mark.parametrize("name", QUICK)
def test_who_may_do_what(name: str, tmp_path: Path) -> None:
    compare("interp", name, 31 if "all" in name else 5, True, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("register", [5, 31])
@pytest.mark.parametrize("name", SETTINGS)
def test_who_may_do_what_of_all(name: str, register: int, tmp_path: Path) -> None:
    compare("interp", name, register, False, tmp_path)
