"""Functions of Python that are made of blocks give what tracing the same with constants gives."""

from __future__ import annotations

import random

import pytest

from bimetal.ir.function import function_of
from bimetal.ir.value import Block, const, field_of, pure, select, tracing
from bimetal.isa.names import architecture

PREFIXES = bytes.fromhex("66 48 0f c4 c5 f2 f3 67 2e 41 0f")


@pytest.mark.parametrize("name", ["riscv64", "aarch64", "x86_64"])
def test_scans(name: str) -> None:
    isa, rng = architecture(name).isa, random.Random(name)
    for _ in range(60):
        code = bytearray(rng.randbytes(isa.fetch))
        code[: rng.randrange(3)] = rng.choices(PREFIXES, k=2)[:2]
        raw = int.from_bytes(code[: isa.fetch], "little")
        for mode in range(len(isa.modes)):
            word, length = isa.scanned(const(raw, 8 * isa.fetch), const(mode, 8))
            assert isa.word_of(raw, mode) == (int(word), int(length))


def test_operations_that_python_has_not() -> None:
    block = Block()
    with tracing(block):
        a, b = field_of("a", 8), field_of("b", 8)
        results = (a.asr(2), a.sext(16), pure("clz", a), select(a.slt(b), a + b, a - b))
    function = function_of(block, ("a", "b"), results)
    assert function(0x84, 0x10) == (0xE1, 0xFF84, 0, 0x94)
    assert function(0x10, 0x84) == (0x04, 0x0010, 3, 0x8C)


def test_what_is_not_pure_is_refused() -> None:
    isa = architecture("riscv64").isa
    load = isa.decode(int.from_bytes(isa.assemble("ld a0, 8(a1)"), "little"))
    assert load is not None
    with pytest.raises(KeyError):
        function_of(load.insn.trace(load.fields), (), ())
