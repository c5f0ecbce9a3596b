"""Compound operations mean what their definitions say, done by the host or without its help."""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Iterator

import pytest

from bimetal.codegen import host, processor
from bimetal.codegen.layout import Layout
from bimetal.codegen.library import Library
from bimetal.codegen.linking import link
from bimetal.codegen.lower import Lowering
from bimetal.codegen.native import compile_object
from bimetal.ir.compound import Compound, Definition
from bimetal.ir.evaluate import Frame
from bimetal.ir.value import Value
from bimetal.isa.arm import a64
from bimetal.isa.x86 import x86


def _definitions() -> Iterator[Definition]:
    helped = {a64: ("aes", "sha256", "pmull", "dotprod"), x86: ("aes", "sse", "sse2")}
    for insn in (insn for isa in helped for insn in isa.insns):
        if insn.extension in helped[insn.isa]:
            for block in insn.variants().values():
                yield from (value.definition for value in block if isinstance(value, Compound))


DEFINITIONS = {definition.name: definition for definition in _definitions()}


class _Function(Lowering):
    """A compound operation of what stands at ``%in``, to be stored at ``%out``."""

    def missing(self, value: Value) -> str:
        pointer = self.let(f"getelementptr i8, ptr %in, i64 {16 * int(str(value.attr))}")
        return self.let(f"load i{value.width}, ptr {pointer}, align 1")


def _compiled(definition: Definition) -> Library:
    fields = [
        Value("field", parameter.width, (), str(number))
        for number, parameter in enumerate(definition.parameters)
    ]
    value, lowering = Compound(definition, *fields), _Function(Layout.of(a64))
    lowering.one(value)
    lowering.put(f"store i{value.width} {lowering.operand(value)}, ptr %out, align 1")
    lines = "\n".join(lowering.lines)
    text = f"define void @f(ptr %in, ptr %out) {{\n{lines}\nret void\n}}"
    return Library(link([compile_object(text)], ["f"]))


def _evaluated(definition: Definition, operands: list[int]) -> int:
    frame = Frame({}, None)  # type: ignore[arg-type]
    frame.values.update(zip(definition.parameters, operands, strict=True))
    frame.run(definition.block)
    return frame.operand(definition.result)


def test_whatever_the_host_can_do_is_used() -> None:
    assert host.current().compounds.keys() == DEFINITIONS.keys()


@pytest.mark.parametrize("helped", [True, False], ids=("by the host", "by definition"))
@pytest.mark.parametrize("name", DEFINITIONS)
def test_native_code_agrees(name: str, helped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    definition, rng = DEFINITIONS[name], random.Random(name)
    if not helped:
        monkeypatch.setattr(host.Host, "compounds", {})
    elif not host.current().compound(name):
        pytest.skip("this host has no such instruction, or one that gives other bits")
    native = _compiled(definition)
    call = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)(native.address("f"))
    out = ctypes.create_string_buffer(16)
    for _ in range(20):
        operands = [rng.getrandbits(parameter.width) for parameter in definition.parameters]
        call(b"".join(number.to_bytes(16, "little") for number in operands), out)
        assert int.from_bytes(out.raw, "little") == _evaluated(definition, operands)


def test_estimates_of_other_makers_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        processor, "processor", lambda: {"vendor_id": "AuthenticAMD", "flags": "sse aes"}
    )
    processor.host_has.cache_clear()
    try:
        assert host.Host.compound("aes_encrypt")
        assert not host.Host.compound("reciprocal_estimate")
        assert not host.Host.compound("root_reciprocal_estimate")
    finally:
        processor.host_has.cache_clear()


BOUND = 1.5 * 2**-12
"""Of the relative error that the manual promises (SDM volume 2, RCPPS and RSQRTPS)."""


@pytest.mark.parametrize(
    ("name", "power"), [("reciprocal_estimate", -1), ("root_reciprocal_estimate", -0.5)]
)
def test_estimates_are_as_near_as_the_manual_promises(
    name: str, power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.Host, "compounds", {})
    native = _compiled(DEFINITIONS[name])
    call = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)(native.address("f"))
    out = ctypes.create_string_buffer(16)
    # Both ends of each interval that has an estimate of its own, in two octaves.
    steps = [(127 << 23) + (n << 11) for n in range(1 << 13)]
    for bits in (bits for step in steps for bits in (step, step + (1 << 11) - 1)):
        call(struct.pack("<4I", bits, 1 << 31, 0x7F80_0000, 0x7FA0_0000), out)
        (number,) = struct.unpack("<f", struct.pack("<I", bits))
        got, minus_zero, infinity, nan = struct.unpack("<fIII", out)
        assert abs(got / number**power - 1) <= BOUND
        assert (minus_zero, infinity, nan) == (0xFF80_0000, 0, 0x7FE0_0000)
