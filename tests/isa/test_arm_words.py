"""Words at random, instructions with some bits changed among them: what is undefined, and what is
not, beside QEMU's system emulation. `test_arm_traps` has those of the system.

pytest -m slow tests/isa/test_arm_words.py      # many more
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bimetal.isa.arm import a64
from tests.host import programs

from .arm_machine import ASSEMBLER, LINKER
from .arm_results import QEMU
from .arm_words import Fate, Setting, fates

pytestmark = programs(ASSEMBLER, LINKER, QEMU)

UNDEFINED, FETCH_ABORT, DATA_ABORT = 0x00, 0x20, 0x24


def candidate(rng: random.Random) -> int:
    if rng.random() < 0.3:
        return rng.getrandbits(32)
    pattern = rng.choice(a64.insns).pattern
    word = pattern.match & (1 << 32) - 1 | rng.getrandbits(32) & ~pattern.mask
    for _ in range(rng.choice((0, 1, 1, 2))):
        word ^= 1 << rng.randrange(32)
    return word


def tried(word: int) -> bool:
    """Whether a word is tried: none of the system, of SVE and SME (which are declared absent), no
    branch to somewhere near, no SMC, and none of MOPS, which QEMU 7.2 has not."""
    near = (
        word & 0x7C00_0000 == 0x1400_0000
        or word & 0xFF00_0010 == 0x5400_0000
        or word & 0x7C00_0000 == 0x3400_0000
    )
    elsewhere = word >> 24 in (0xD4, 0xD5) or word >> 25 & 15 in (0, 2)
    return not (near or elsewhere or word & 0x3B20_0C00 == 0x1900_0400 or unasked(word))


def unasked(word: int) -> bool:
    """Whether QEMU 7.2 cannot be asked: of operations on one vector of halves it takes those alone
    that are allocated."""
    halves = word & 0x9F7E_0C00 == 0x0E78_0800 or word & 0xDF7E_0C00 == 0x5E78_0800
    return halves and a64.decode(word) is None


def left_open(word: int) -> bool:
    """Whether the manual leaves a word to the processor: some of its bits should be others (the
    registers that exclusives, UMULH and SMULH and comparisons with zero have not)."""
    return (
        word & 0x3F00_0000 == 0x0800_0000
        or word & 0x7F60_0000 == 0x1B40_0000
        or word & 0xFF20_FC0F == 0x1E20_2008
    )


def unallocated(word: int) -> bool:
    """Whether QEMU 7.2 executes a word that the manual does not allocate: the minimum or maximum of
    halves, pairwise or across lanes, with bit 22 set (C4.1.96.7), and FMOV of a double to half a
    register (C4.1.96.18)."""
    return (
        word & 0x9F7E_0C00 == 0x0E70_0800
        or word & 0xDF7E_0C00 == 0x5E70_0800
        or word & 0x9FF8_0C00 == 0x0F00_0C00
    )


def settled(word: int, mine: Fate, theirs: Fate) -> bool:
    """Whether two fates are the same, or differ as they may."""
    if mine == theirs or mine.cause == theirs.cause == DATA_ABORT:
        return True
    if mine.cause == FETCH_ABORT:
        return theirs.cause in (FETCH_ABORT, UNDEFINED)  # QEMU's board has memory at 0
    return mine.cause == UNDEFINED and (left_open(word) or unallocated(word))


def compare(engine: str, seed: int, count: int, folder: Path) -> None:
    rng, chosen = random.Random(seed), list[int]()
    while len(chosen) < count:
        word = candidate(rng)
        if tried(word):
            chosen.append(word)
    wrong = [
        f"{word:#010x}: {mine}, QEMU {theirs}"
        for word, mine, theirs in fates(engine, chosen, Setting(0), folder)
        if not settled(word, mine, theirs)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {count}", *wrong[:30]])


def test_words_at_random(tmp_path: Path) -> None:
    compare("interp", 1, 20_000, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_words_at_random(seed: int, tmp_path: Path) -> None:
    compare("interp", seed, 400_000, tmp_path)
