"""A gather whose ModRM names memory without a SIB byte is undefined, as on the host's processor."""

from __future__ import annotations

import itertools

import pytest

from bimetal.codegen.processor import host_has

from ..state import CODE, Case, State, differences
from .cases import decode
from .executors import ReferenceExecutor
from .native import GENERAL, Native

pytestmark = pytest.mark.skipif(not host_has("avx2"), reason="the host's processor has no AVX2")

PREFIXES = (b"\xc4\xe2\x69", b"\xc4\xe2\xe9", b"\xc4\xe2\x6d", b"\xc4\xe2\xed")
"""VEX of 128 and 256 bits with W0 and W1; the mask is XMM2."""
PLACES = (b"\x03", b"\x43\x08", b"\x83\x10\x00\x00\x00", b"\x05\x00\x00\x00\x00")
"""[rbx], with displacements, and [rip]."""
WITH_SIB = b"\x04\x23"
"""[rbx + xmm4]: an index of 4 is none elsewhere."""
UNDEFINED = 6


def case(code: bytes) -> Case:
    registers = dict.fromkeys(GENERAL, 0) | {"rip": CODE, "rflags": 2}
    return Case(
        int.from_bytes(code, "little"), code.hex(" "), State(registers, bytes(64)), len(code)
    )


def test_without_a_sib_byte_it_is_undefined() -> None:
    codes = [
        prefix + bytes([opcode]) + place
        for prefix, opcode, place in itertools.product(PREFIXES, range(0x90, 0x94), PLACES)
    ]
    with Native() as native:
        found = native.execute([case(code) for code in codes])
    assert {state.trap for state in found} == {UNDEFINED}
    assert not any(decode(code) for code in codes)


def test_with_one_the_index_may_be_4() -> None:
    tried = [case(PREFIXES[0] + bytes([opcode]) + WITH_SIB) for opcode in range(0x90, 0x94)]
    with Native() as native:
        assert not differences(tried, ReferenceExecutor().execute(tried), native.execute(tried))
