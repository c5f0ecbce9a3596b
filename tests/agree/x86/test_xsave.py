"""FXSAVE, XSAVE and their kin save and restore what the host's own processor does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.accel.kvm.assembler import assemble

from ..state import CODE, DATA, Case, State, differences
from .executors import ReferenceExecutor
from .makers import AMD, MISALIGNED_SSE
from .native import GENERAL, INIT_FCW, INIT_MXCSR, Native

SIZE = 1024
MXCSR_MASK = slice(28, 32)
XSTATE_BV, XCOMP_BV, COMPACT = 512, 520, 1 << 63
ALL = 7
RESTORES = ("fxrstor", "fxrstor64", "xrstor", "xrstor64")
SAVES = ("fxsave", "fxsave64", "xsave", "xsave64", "xsavec")


@pytest.fixture(scope="module")
def native() -> Iterator[Native]:
    with Native() as processor:
        yield processor


def area(rng: random.Random, mask: int, mxcsr: int) -> bytes:
    """An image with the components of ``mask``."""
    image = bytearray(rng.randbytes(SIZE))
    image[0:2] = (INIT_FCW & ~rng.getrandbits(6)).to_bytes(2, "little")
    image[3:4] = bytes([rng.getrandbits(8)])
    image[5] = 0
    image[8:24] = bytes(16)
    image[24:28] = mxcsr.to_bytes(4, "little")
    for n in range(8):
        image[32 + 16 * n + 10 : 48 + 16 * n] = bytes(6)
    image[XSTATE_BV : XSTATE_BV + 64] = mask.to_bytes(8, "little") + bytes(56)
    return bytes(image)


def case(rng: random.Random, name: str, asked: int, memory: bytes, at: int = 0) -> Case:
    code = assemble(f"{name} [rbx]")
    registers = {name: rng.getrandbits(64) for name in GENERAL}
    registers |= {"rbx": DATA + at, "rax": asked, "rdx": 0, "rip": CODE, "rflags": 2}
    registers |= {f"ymm{n}": rng.getrandbits(256) | 1 for n in range(16)}
    registers |= {f"st{n}": rng.getrandbits(80) for n in range(8)}
    registers |= {"mxcsr": INIT_MXCSR | rng.getrandbits(6), "fcw": INIT_FCW}
    registers |= {"fsw": rng.getrandbits(3) << 11 | rng.getrandbits(1) << 14, "ftw": 0xF0}
    return Case(int.from_bytes(code, "little"), name, State(registers, memory), len(code))


def agree(tried: list[Case], want: list[State]) -> None:
    wrong = differences(tried, ReferenceExecutor().execute(tried), want)
    assert not wrong, "\n".join(line[:400] for line in wrong[:5])


@pytest.mark.parametrize("name", RESTORES)
def test_restores(native: Native, name: str) -> None:
    rng = random.Random(name)
    masks = [rng.randrange(8) for _ in range(12)]
    memory = [area(rng, mask, INIT_MXCSR | rng.getrandbits(6)) for mask in masks]
    tried = [case(rng, name, rng.randrange(8), each) for each in memory]
    agree(tried, native.execute(tried))


def as_intel_saves(after: State) -> State:
    """An image whose MXCSR_MASK does not have the bit that only AMD's processors have."""
    memory = bytearray(after.memory)
    if AMD and any(memory[MXCSR_MASK]):
        mask = int.from_bytes(memory[MXCSR_MASK], "little")
        memory[MXCSR_MASK] = (mask ^ MISALIGNED_SSE).to_bytes(4, "little")
    return replace(after, memory=bytes(memory))


@pytest.mark.parametrize("name", SAVES)
def test_saves(native: Native, name: str) -> None:
    rng = random.Random(name)
    old = bytes(SIZE)
    tried = [case(rng, name, asked, old) for asked in range(8)]
    agree(tried, [as_intel_saves(after) for after in native.execute(tried)])


@pytest.mark.parametrize("name", ["fxrstor", "xrstor", "xrstor64"])
def test_what_is_reserved_is_a_protection_fault(native: Native, name: str) -> None:
    rng = random.Random(name)
    tried = [case(rng, name, ALL, area(rng, ALL, 0x1_0000)), case(rng, name, ALL, bytes(SIZE), 8)]
    if name != "fxrstor":
        tried.append(case(rng, name, ALL, area(rng, 1 << 40, INIT_MXCSR)))
    want = native.execute(tried)
    agree(tried, want)
    assert [after.trap for after in want] == [13] * len(tried)
