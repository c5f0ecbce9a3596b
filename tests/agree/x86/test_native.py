"""The oracles of x86 say what the manual says (SDM volume 2), and survive what faults."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bimetal.codegen.processor import host_has
from tests.accel.kvm.assembler import assemble

from ..state import CODE, DATA, Case, State, differences
from .makers import AMD, settled
from .native import GENERAL, INIT_FCW, INIT_MXCSR, MEMORY, Native
from .unicorn_oracle import Unicorn

CF, PF, AF, ZF, SF, DF, OF = (1 << n for n in (0, 2, 4, 6, 7, 10, 11))
DIVISION, DEBUG_STEP, BREAKPOINT, UNDEFINED, PROTECTION, PAGE_FAULT, X87, SIMD = (
    *(0, 1, 3, 6, 13, 14, 16, 19),
)
ONE, TWO = 0x3F80_0000, 0x4000_0000
"""1 and 2 in single precision."""
EXTENDED_ONE = 0x3FFF << 64 | 1 << 63


STACK = MEMORY // 2


def state(bits: int = 64, **registers: int) -> State:
    """A stack in the middle of memory, and registers with values of their own."""
    usual = {name: 0x0101_0101_0101_0101 * n for n, name in enumerate(GENERAL)}
    code, data = (0, 0) if bits == 16 else (CODE, DATA)
    usual |= {"rsp": data + STACK, "rflags": 2, "rip": code}
    return State(usual | registers, bytes(MEMORY))


def case(text: str, bits: int = 64, **registers: int) -> Case:
    code = assemble(text, bits)
    return Case(int.from_bytes(code, "little"), text, state(bits, **registers), len(code))


@pytest.fixture(scope="module")
def native() -> Iterator[Native]:
    with Native() as processor:
        yield processor


@pytest.fixture(scope="module")
def native_32() -> Iterator[Native]:
    with Native(32) as processor:
        yield processor


@pytest.fixture(scope="module")
def native_16() -> Iterator[Native]:
    """Skips where the host's kernel knows no segments of 16 bits, which only old programs need."""
    with Native(16) as processor:
        if one(processor, case("nop", 16)).trap is not None:
            pytest.skip("the host's kernel has no segments of 16 bits")
        yield processor


def one(processor: Native | Unicorn, tried: Case) -> State:
    (after,) = processor.execute([tried])
    return after


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("add rax, rbx", {"rax": 1 << 63, "rbx": 1 << 63},
         {"rax": 0, "rflags": 2 | OF | ZF | PF | CF}),
        ("add al, bl", {"rax": 0xFFFF, "rbx": 1}, {"rax": 0xFF00, "rflags": 2 | ZF | PF | CF | AF}),
        ("mov eax, ebx", {"rax": 1 << 40, "rbx": -1 % (1 << 64)}, {"rax": 0xFFFF_FFFF}),
        ("adc rax, 0", {"rax": 7, "rflags": 2 | CF}, {"rax": 8, "rflags": 2}),
        ("std", {}, {"rflags": 2 | DF}),
        ("jmp rbx", {"rbx": CODE + 64}, {"rip": CODE + 64}),
        ("addps xmm0, xmm1", {"xmm0": ONE, "xmm1": ONE, "mxcsr": INIT_MXCSR}, {"xmm0": TWO}),
        ("vaddps ymm0, ymm1, ymm1", {"ymm0": 0, "ymm1": ONE << 224}, {"ymm0": TWO << 224}),
        ("vaddps xmm0, xmm1, xmm1", {"ymm0": -1 % (1 << 256), "ymm1": ONE}, {"ymm0": TWO}),
        ("divss xmm0, xmm1", {"xmm0": ONE, "xmm1": 0, "mxcsr": INIT_MXCSR},
         {"xmm0": 0x7F80_0000, "mxcsr": INIT_MXCSR | 4}),
        ("fld1", {"st0": 0, "st1": 0, "fcw": INIT_FCW, "fsw": 0, "ftw": 0},
         {"st0": EXTENDED_ONE, "fsw": 7 << 11, "ftw": 0x80}),
    ],
)  # fmt: skip
def test_processor_does_what_the_manual_says(
    native: Native, text: str, before: dict[str, int], after: dict[str, int]
) -> None:
    tried = case(text, **before)
    size = tried.size
    expected = tried.before.registers | {"rip": CODE + size} | after
    assert one(native, tried) == State(expected, bytes(MEMORY))


def test_processor_jumps_if_the_flag_says_so(native: Native) -> None:
    away = int.from_bytes(b"\x72\x1e", "little")
    tried = [Case(away, "jc", state(rflags=2 | flags), 2) for flags in (CF, 0)]
    assert [after.registers["rip"] for after in native.execute(tried)] == [CODE + 32, CODE + 2]


def test_processor_loads_and_stores(native: Native) -> None:
    tried = case("add [rbx], rax", rbx=DATA, rax=5)
    memory = struct.pack("<Q", 37).ljust(MEMORY, b"\0")
    after = one(native, replace(tried, before=replace(tried.before, memory=memory)))
    assert after.memory[:8] == (42).to_bytes(8, "little")
    after = one(native, case("push rax", rax=0x1122_3344))
    assert after.registers["rsp"] == DATA + STACK - 8
    assert after.memory[STACK - 8 : STACK] == (0x1122_3344).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("text", "before", "vector"),
    [
        ("div rbx", {"rbx": 0}, DIVISION),
        ("ud2", {}, UNDEFINED),
        ("hlt", {}, PROTECTION),
        ("jmp rbx", {"rbx": 1 << 63}, PROTECTION),
        ("movaps xmm0, [rbx]", {"rbx": DATA + 1}, PROTECTION),
        ("mov rax, [rbx]", {"rbx": 0}, PAGE_FAULT),
        ("divss xmm0, xmm1", {"xmm0": ONE, "xmm1": 0, "mxcsr": INIT_MXCSR & ~(4 << 7)}, SIMD),
        ("fld1", {"fcw": INIT_FCW & ~1, "fsw": 0x8081}, X87),
    ],
)
def test_processor_faults_at_the_instruction(
    native: Native, text: str, before: dict[str, int], vector: int
) -> None:
    after = one(native, case(text, **before))
    assert (after.trap, after.registers["rip"]) == (vector, CODE)


@pytest.mark.skipif(not host_has("sha_ni"), reason="the host's processor has no SHA instructions")
@pytest.mark.parametrize(
    "text",
    [
        *(f"{name} xmm0, [rbx]" for name in ("sha1msg1", "sha1msg2", "sha1nexte", "sha256msg1")),
        *("sha256msg2 xmm0, [rbx]", "sha256rnds2 xmm1, [rbx]", "sha1rnds4 xmm0, [rbx], 1"),
    ],
)
def test_only_amd_allows_misaligned_operands_of_sha(native: Native, text: str) -> None:
    after = one(native, case(text, rbx=DATA + 1))
    assert after.trap == (None if AMD else PROTECTION)


def test_processor_traps_behind_the_instruction(native: Native, native_32: Native) -> None:
    after = one(native, case("int3"))
    assert (after.trap, after.registers["rip"]) == (BREAKPOINT, CODE + 1)
    assert one(native, Case(0xF1, "int1", state(), 1)).trap == DEBUG_STEP
    assert one(native_32, case("into", 32, rflags=2 | OF)).trap == 4


def test_processor_executes_code_of_32_bits(native_32: Native) -> None:
    after = one(native_32, case("daa", 32, rax=0xAE))
    assert (after.registers["rax"], after.registers["rflags"] & CF) == (0x14, CF)
    assert one(native_32, case("inc eax", 32, rax=1)).registers["rip"] == CODE + 1
    after = one(native_32, case("push ecx", 32, rcx=5))
    assert after.registers["rsp"] == DATA + STACK - 4


def test_processor_executes_code_of_16_bits(native_16: Native) -> None:
    after = one(native_16, case("push cx", 16, rcx=0x1234_5678))
    assert (after.registers["rip"], after.registers["rsp"] & 0xFFFF) == (1, STACK - 2)
    assert after.memory[STACK - 2 : STACK] == b"\x78\x56"
    after = one(native_16, case("mov ax, [bx + si + 1]", 16, rbx=STACK - 3, rsi=1))
    assert after.registers["rax"] & 0xFFFF == 0


def test_child_that_is_lost_is_an_error_and_the_next_one_goes_on(native: Native) -> None:
    exits = case("syscall", rax=60)  # exit
    with pytest.raises(RuntimeError, match="0f 05 is gone"):
        native.execute([exits])
    assert one(native, case("inc rax", rax=1)).registers["rax"] == 2


def _random(rng: random.Random, text: str, bits: int) -> Case:
    values = {name: rng.getrandbits(64 if bits == 64 else 32) for name in GENERAL[:8]}
    values |= {"rsp": STACK if bits == 16 else DATA + STACK}
    values["rflags"] = 2 | rng.choice((0, CF, ZF, OF, CF | SF | AF))
    return case(text, bits, **values)


DEFINED = {
    64: ("add rax, rbx", "adc ecx, edx", "sbb si, di", "neg al", "imul rax, rcx", "xchg rax, rdx",
         "shld rax, rbx, 1", "bswap rcx", "cmovg rax, rdx", "setle bl", "popcnt rax, rbx"),
    32: ("add eax, ebx", "inc ecx", "dec si", "sahf", "cwde", "push esi", "movzx eax, bl"),
    16: ("add ax, bx", "inc ecx", "cbw", "xchg ax, dx", "movzx eax, bl", "neg cx"),
}  # fmt: skip
"""Instructions whose flags are defined, or what Unicorn makes of them as Intel's processors do."""


@pytest.mark.parametrize("name", ["native", "native_32", "native_16"])
def test_unicorn_and_processor_agree(name: str, request: pytest.FixtureRequest) -> None:
    processor: Native = request.getfixturevalue(name)
    rng, bits = random.Random(name), processor.bits
    tried = [_random(rng, text, bits) for text in DEFINED[bits] for _ in range(40)]
    got, want = Unicorn(bits).execute(tried), processor.execute(tried)
    if bits == 64:
        want = settled(tried, got, want)
    wrong = differences(tried, got, want)
    assert not wrong, "\n".join(wrong[:10])
