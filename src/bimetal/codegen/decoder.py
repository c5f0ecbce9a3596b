"""The decoder: a decision tree over encodings whose leaves fill in records."""

from __future__ import annotations

from functools import reduce
from operator import and_

from msgspec import Struct

from ..ir.value import Block, Value, field_of, tracing
from ..isa.describe import Insn
from .layout import PAGE, Layout
from .lower import Lowering
from .record import Slots

__all__ = ["Candidate", "RecordForm", "decoder_text"]


class RecordForm(Struct, frozen=True):
    """What the decoder puts into a record: a handler's symbol and the operands that it loads."""

    symbol: str
    slots: Slots


class Candidate(Struct, frozen=True):
    """One variant of an instruction: its literal bits, pinned fields included, and its handlers.

    ``near`` serves a jump to an address in the same page, if the instruction is one.
    """

    insn: Insn
    fixed: dict[str, int]
    mask: int
    match: int
    far: RecordForm
    near: RecordForm | None = None


class _DecoderLowering(Lowering):
    """Lowers the static expressions of the operands; fields are taken from the word."""

    def __init__(self, layout: Layout):
        super().__init__(layout)
        self._kind = f"i{layout.isa.word_bits}"
        # Literal bits lie in the low 64 of a word: LLVM's switches are fast on the host's words.
        self._literal = self._kind
        if layout.isa.word_bits > 64:
            self._literal = "i64"
            self.put(f"%literal = trunc {self._kind} %word to i64")
        self._insn: Insn | None = None
        self._fixed: dict[str, int] = {}
        self._fields: dict[str, str] = {}

    def begin(self, candidate: Candidate) -> None:
        """Start the leaf of a candidate: names of other leaves do not dominate it."""
        self._insn, self._fixed = candidate.insn, candidate.fixed
        self.names.clear()
        self._fields.clear()

    def missing(self, value: Value) -> str:
        if value.op == "field":
            return self._field(str(value.attr))
        for argument in value.args:
            self.operand(argument)
        self.one(value)
        return self.names[value]

    def _field(self, name: str) -> str:
        assert self._insn is not None
        pattern = self._insn.pattern
        if name in self._fixed:
            return str(self._fixed[name])
        if name not in self._fields:
            total, kind = "0", self._kind
            for piece in (p for p in pattern.pieces if p.name == name):
                down = self.let(f"lshr {kind} %word, {piece.at}")
                bits = self.let(f"and {kind} {down}, {(1 << piece.width) - 1}")
                placed = self.let(f"shl {kind} {bits}, {piece.low}")
                total = self.let(f"or {kind} {total}, {placed}")
            self._fields[name] = self.narrow(total, kind, pattern.widths[name])
        return self._fields[name]

    # -- the tree
    def tree(self, candidates: list[Candidate], known: int) -> None:
        """Switch on the literal bits that all candidates share; ``known`` masks those already
        compared."""
        common = reduce(and_, (c.mask for c in candidates)) & ~known
        if not common or len(candidates) == 1:
            self._in_order(candidates, known)
            return
        groups: dict[int, list[Candidate]] = {}
        for candidate in candidates:
            groups.setdefault(candidate.match & common, []).append(candidate)
        bits = self._literals(common)
        labels = {key: self.fresh("group") for key in groups}
        kind = self._literal
        arms = " ".join(f"{kind} {key}, label {label}" for key, label in labels.items())
        self.end(f"switch {kind} {bits}, label %undefined [ {arms} ]")
        for key, group in groups.items():
            self.label(labels[key])
            self.tree(group, known | common)

    def _literals(self, mask: int) -> str:
        """The word's literal bits in ``mask``. Raises ValueError if some are above bit 63."""
        whole = "%word" if self._literal == self._kind else "%literal"
        if mask >> int(self._literal[1:]):
            raise ValueError(f"literal bits {mask:#x} are not in the low 64 of the word")
        return self.let(f"and {self._literal} {whole}, {mask}")

    def _in_order(self, candidates: list[Candidate], known: int) -> None:
        for candidate in candidates:
            self.begin(candidate)
            other = self.fresh("other")
            rest = candidate.mask & ~known
            if rest:
                bits = self._literals(rest)
                same = self.let(f"icmp eq {self._literal} {bits}, {candidate.match & rest}")
                self._unless(same, other)
            if feature := self.layout.isa.feature(candidate.insn):
                there = self.let(f"and i64 {self.load_state('features')}, {feature}")
                self._unless(self.let(f"icmp ne i64 {there}, 0"), other)
            if candidate.insn.where is not None:
                self._unless(self._where(candidate), other)
            self._leaf(candidate)
            self.label(other)
        self.end("br label %undefined")

    def _unless(self, condition: str, other: str) -> None:
        go = self.fresh("go")
        self.branch(condition, go, other)
        self.label(go)

    def _where(self, candidate: Candidate) -> str:
        insn = candidate.insn
        assert insn.where is not None
        with tracing(Block()):
            fields = {name: field_of(name, width) for name, width in insn.pattern.widths.items()}
            condition = insn.where(**fields)
        if isinstance(condition, bool):
            return "true" if condition else "false"
        return self.operand(condition)

    # -- leaves
    def _leaf(self, candidate: Candidate) -> None:
        if candidate.near is not None:
            outside = self.fresh("far")
            targets = [
                self.let(f"add i64 %offset, {self.operand(distance)}")
                for distance, role in candidate.near.slots.slots
                if role == "distance"
            ]
            for target in targets:
                self._unless(self.let(f"icmp ult i64 {target}, {PAGE}"), outside)
            names, fields = dict(self.names), dict(self._fields)
            self._write(candidate.near)
            self.names, self._fields = names, fields
            self.label(outside)
        self._write(candidate.far)

    def _write(self, form: RecordForm) -> None:
        """Fill in the record: operands first, then the handler that will use them."""
        for (value, role), slot in form.slots.slots.items():
            name = self.operand(value)
            width, size = value.width, slot.bytes * 8
            if role in ("distance", "length"):
                name, width = self.widen(name, "i64", width), 64
                name = self.let(f"shl i64 {name}, {self.layout.scale.bit_length() - 1}")
            if isinstance(role, tuple) and role[0] < 1 << width:
                number, lost = role
                zero = self.let(f"icmp eq i{width} {name}, {number}")
                wide = self.let(f"zext i{width} {name} to i{size}") if width < size else name
                name = self.let(f"select i1 {zero}, i{size} {lost}, i{size} {wide}")
                width = size
            if width != size:
                cast = "trunc" if width > size else "zext"
                name = self.let(f"{cast} i{width} {name} to i{size}")
            self.put(f"store i{size} {name}, ptr {self.pointer('%rec', slot.offset)}, align 1")
        self.put(f"store ptr {form.symbol}, ptr %rec")
        self.end("ret void")


def decoder_text(layout: Layout, candidates: list[Candidate], undefined: str) -> str:
    """The LLVM function ``decode(st, rec, word, offset in the page)`` that fills in a record."""
    lowering = _DecoderLowering(layout)
    lowering.tree(candidates, 0)
    lowering.label("%undefined")
    lowering.put(f"store ptr {undefined}, ptr %rec")
    lowering.end("ret void")
    body = "\n".join(["entry:", *lowering.lines])
    parameters = f"ptr %st, ptr %rec, i{layout.isa.word_bits} %word, i64 %offset"
    return f"define internal void @decode({parameters}) #2 {{\n{body}\n}}\n"
