"""Native decoders recognise what the descriptions say, and compute the operands of handlers."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import pytest

from bimetal.codegen.decoder import Candidate, RecordForm, decoder_texts
from bimetal.codegen.layout import OPERANDS, PAGE, Layout
from bimetal.codegen.library import Library
from bimetal.codegen.linking import link
from bimetal.codegen.modules import modules
from bimetal.codegen.native import compile_object
from bimetal.codegen.program import Program
from bimetal.ir.evaluate import Frame, Machine
from bimetal.ir.value import Block, Value
from bimetal.isa.arm import a64
from bimetal.isa.describe import Decoded, Isa
from bimetal.isa.riscv import rv64
from bimetal.isa.x86 import x86
from tests.isa.x86_words import random_code

UNDEFINED = "@undefined"
OFFSETS = (0, 0x7E0, PAGE - 4)
WORDS = 4000


class Decoder:
    """The decoder of an ISA on its own; its handlers are empty functions."""

    def __init__(self, isa: Isa):
        self.isa, self.layout = isa, Layout.of(isa, shared=False)
        self.candidates = Program(self.layout).candidates
        forms = [form for each in self.candidates for form in (each.far, each.near) if form]
        names = [*dict.fromkeys(form.symbol for form in forms), UNDEFINED]
        texts = decoder_texts(self.layout, self.candidates, UNDEFINED)
        handlers = [f"define void {name}() {{\n  ret void\n}}\n" for name in names]
        attributes = "attributes #2 = { nounwind }\n"
        made = modules(attributes, [[*texts, self._entry()], handlers])
        exported = ["decode_at", *(name[1:] for name in names)]
        self.library = Library(link([compile_object(text) for text in made], exported))
        self._symbols = {self.library.address(name[1:]): name for name in names}
        self._state = ctypes.create_string_buffer(self.layout.offsets["features"] + 8)
        self._features = ctypes.c_uint64.from_buffer(self._state, self.layout.offsets["features"])

    def _entry(self) -> str:
        """A function that is given a word in memory."""
        kind = f"i{self.isa.word_bits}"
        return f"""
define void @decode_at(ptr %st, ptr %rec, ptr %at, i64 %offset) {{
  %word = load {kind}, ptr %at, align 1
  call void @decode(ptr %st, ptr %rec, {kind} %word, i64 %offset)
  ret void
}}
"""

    def decode(self, word: int, offset: int, features: int) -> tuple[str, bytes]:
        """The handler that a word's record gets, and the record's operands."""
        record = ctypes.create_string_buffer(self.layout.record)
        self._features.value = features
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_char_p, ctypes.c_uint64)
        decode = cast(Callable[..., None], call(self.library.address("decode_at")))
        decode(ctypes.addressof(self._state), record, word.to_bytes(32, "little"), offset)
        return self._symbols[int.from_bytes(record.raw[:8], "little")], record.raw[OPERANDS:]

    def candidate(self, decoded: Decoded) -> Candidate:
        """The variant of an instruction that these fields are of."""
        (found,) = (
            each
            for each in self.candidates
            if each.insn is decoded.insn and each.fixed.items() <= decoded.fields.items()
        )
        return found

    def expected(self, decoded: Decoded | None, offset: int) -> tuple[str, bytes]:
        """The same by the evaluation of what the handlers ask for."""
        if decoded is None:
            return UNDEFINED, bytes(self.layout.record - OPERANDS)
        found = self.candidate(decoded)
        near, form = found.near, found.far
        if near is not None and all(
            offset + signed(evaluated(value, decoded.fields), 64) in range(PAGE)
            for value, role in near.slots.slots
            if role == "distance"
        ):
            form = near
        return form.symbol, self._operands(form, decoded.fields)

    def _operands(self, form: RecordForm, fields: Mapping[str, int]) -> bytes:
        content = bytearray(self.layout.record)
        for (value, role), slot in form.slots.slots.items():
            number = evaluated(value, fields)
            if role in ("distance", "length"):
                number *= self.layout.scale
            elif isinstance(role, tuple) and number == role[0]:
                number = role[1]
            number &= (1 << 8 * slot.bytes) - 1
            content[slot.offset : slot.offset + slot.bytes] = number.to_bytes(slot.bytes, "little")
        return bytes(content[OPERANDS:])


def signed(number: int, width: int) -> int:
    return number - (number >> width - 1 << width)


def evaluated(value: Value, fields: Mapping[str, int]) -> int:
    """A static expression of an encoding's fields."""
    frame, block = Frame(fields, cast(Machine, None)), Block()
    _in_order(value, block, set())
    frame.run(block)
    return frame.operand(value)


def _in_order(value: Value, block: Block, seen: set[Value]) -> None:
    if value in seen or value.op in ("const", "field"):
        return
    seen.add(value)
    for argument in value.args:
        _in_order(argument, block, seen)
    block.append(value)


def words_of(isa: Isa, rng: random.Random) -> Iterator[int]:
    """Words of instructions that are described, and some of any bits."""
    for _ in range(WORDS):
        if isa is x86:
            raw = random_code(rng) if rng.random() < 0.9 else rng.randbytes(15)
            yield isa.word_of(int.from_bytes(raw, "little"), rng.randrange(len(isa.modes)))[0]
        else:
            pattern, any_bits = rng.choice(isa.insns).pattern, rng.getrandbits(32)
            yield any_bits & ~pattern.mask | pattern.match if rng.random() < 0.9 else any_bits


@pytest.mark.parametrize(
    "isa",
    [
        rv64,
        pytest.param(a64, marks=pytest.mark.slow),
        pytest.param(x86, marks=pytest.mark.slow),
    ],
    ids=lambda isa: isa.name,
)
def test_records_are_what_the_descriptions_say(isa: Isa) -> None:
    decoder, rng, defined = Decoder(isa), random.Random(isa.name), 0
    for word in words_of(isa, rng):
        offset, features = rng.choice(OFFSETS), rng.choice((-1, -1, -1, rng.getrandbits(64)))
        decoded = isa.decode(word, features)
        got = decoder.decode(word, offset, features & (1 << 64) - 1)
        assert got == decoder.expected(decoded, offset), f"{word:#x} {decoded and decoded.text()}"
        defined += decoded is not None
    assert defined > WORDS // 2
