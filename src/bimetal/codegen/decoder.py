"""The decoder: a decision tree over encodings whose leaves fill in records.

It is many small functions, because the time that LLVM takes for a function grows with the square
of its size: trees of some dozens of instructions, which are reached by switches; one function for
each way to fill in a record; and one for each condition. What many instructions have in common is
there once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_

from msgspec import Struct

from ..ir.value import Block, Value, field_of, tracing
from ..isa.describe import Insn
from .layout import PAGE, Layout
from .lower import Lowering
from .record import Slots

__all__ = ["Candidate", "RecordForm", "decoder_texts"]

MANY = 48
"""Candidates that are too many for one function."""


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


class _WordLowering(Lowering):
    """Lowers static expressions of one candidate's fields, which are taken from the word."""

    def __init__(self, layout: Layout, candidate: Candidate):
        super().__init__(layout)
        self._kind = f"i{layout.isa.word_bits}"
        self._insn, self._fixed = candidate.insn, candidate.fixed
        self._fields: dict[str, str] = {}

    def missing(self, value: Value) -> str:
        if value.op == "field":
            return self._field(str(value.attr))
        for argument in value.args:
            self.operand(argument)
        self.one(value)
        return self.names[value]

    def _field(self, name: str) -> str:
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

    def admitted(self) -> str:
        """Whether the fields belong to the instruction (`Insn.where`)."""
        insn = self._insn
        assert insn.where is not None
        with tracing(Block()):
            fields = {name: field_of(name, width) for name, width in insn.pattern.widths.items()}
            condition = insn.where(**fields)
        if isinstance(condition, bool):
            return "true" if condition else "false"
        return self.operand(condition)

    def stays(self, near: RecordForm) -> str:
        """Whether all that a jump may lead to is in the page."""
        stays = "true"
        for distance, role in near.slots.slots:
            if role == "distance":
                target = self.let(f"add i64 %offset, {self.operand(distance)}")
                inside = self.let(f"icmp ult i64 {target}, {PAGE}")
                stays = self.let(f"and i1 {stays}, {inside}")
        return stays

    def write(self, form: RecordForm) -> None:
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
        self.put("store ptr %handler, ptr %rec")
        self.end("ret void")


class _Functions:
    """The functions of a decoder. Of those that differ in their names alone there is one."""

    def __init__(self, layout: Layout, undefined: str):
        self.layout, self.undefined = layout, undefined
        self.texts: list[str] = []
        self._names: dict[str, str] = {}
        # All have their parameters in the same registers of the host.
        self.word = f"ptr %st, ptr %rec, i{layout.isa.word_bits} %word"

    def tree(self, candidates: Sequence[Candidate], known: int, name: str = "") -> str:
        """A function that fills in a record for one of these; see `_Tree.grow`."""
        tree = _Tree(self)
        tree.grow(candidates, known)
        tree.label("%undefined")
        tree.put(f"store ptr {self.undefined}, ptr %rec")
        tree.end("ret void")
        name = name or f"@decode_in_{candidates[0].match:x}_{known:x}"
        self._add(f"void {name}({self.word}, i64 %offset) #2 noinline", tree.lines)
        return name

    def filling(self, candidate: Candidate, form: RecordForm) -> str:
        """A function that fills in a record, given the handler."""
        lowering = _WordLowering(self.layout, candidate)
        lowering.write(form)
        return self._shared("fill", "void", "ptr %handler", lowering.lines)

    def condition(self, lowering: Lowering, holds: str) -> str:
        """A function that says whether something holds."""
        lowering.end(f"ret i1 {holds}")
        return self._shared("holds", "i1", "i64 %offset", lowering.lines)

    def _shared(self, kind: str, result: str, last: str, lines: Sequence[str]) -> str:
        body = "\n".join(lines)
        if body not in self._names:
            name = self._names[body] = f"@decode_{kind}_{len(self._names)}"
            self._add(f"{result} {name}({self.word}, {last}) #2", lines)
        return self._names[body]

    def _add(self, head: str, lines: Sequence[str]) -> None:
        body = "\n".join(["entry:", *lines])
        self.texts.append(f"define internal {head} {{\n{body}\n}}\n")


class _Tree(Lowering):
    """Lowers the decisions between candidates."""

    def __init__(self, functions: _Functions):
        super().__init__(functions.layout)
        self._functions = functions
        width = self.layout.isa.word_bits
        self._word, self._literal, self._whole = f"i{width} %word", f"i{width}", "%word"
        # Literal bits lie in the low 64 of a word: LLVM's switches are fast on the host's words.
        if width > 64:
            self._literal, self._whole = "i64", self.let(f"trunc {self._word} to i64")

    def grow(self, candidates: Sequence[Candidate], known: int) -> None:
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
        apart = len(candidates) > MANY
        for key, group in groups.items():
            self.label(labels[key])
            if apart and len(group) > 1:
                name = self._functions.tree(group, known | common)
                self._give("musttail", name, "i64 %offset")
            else:
                self.grow(group, known | common)

    def _give(self, kind: str, function: str, last: str) -> None:
        """Leave the rest to a function."""
        self.put(f"{kind} call void {function}(ptr %st, ptr %rec, {self._word}, {last})")
        self.end("ret void")

    def _literals(self, mask: int) -> str:
        """The word's literal bits in ``mask``. Raises ValueError if some are above bit 63."""
        if mask >> int(self._literal[1:]):
            raise ValueError(f"literal bits {mask:#x} are not in the low 64 of the word")
        return self.let(f"and {self._literal} {self._whole}, {mask}")

    def _in_order(self, candidates: Sequence[Candidate], known: int) -> None:
        for candidate in candidates:
            other = self.fresh("other")
            rest = candidate.mask & ~known
            if rest:
                bits = self._literals(rest)
                self._unless(f"icmp eq {self._literal} {bits}, {candidate.match & rest}", other)
            if feature := self.layout.isa.feature(candidate.insn):
                there = self.let(f"and i64 {self.load_state('features')}, {feature}")
                self._unless(f"icmp ne i64 {there}, 0", other)
            if candidate.insn.where is not None:
                lowering = _WordLowering(self.layout, candidate)
                self._unless_holds(lowering, lowering.admitted(), other)
            self._leaf(candidate)
            self.label(other)
        self.end("br label %undefined")

    def _unless(self, condition: str, other: str) -> None:
        go = self.fresh("go")
        self.branch(self.let(condition), go, other)
        self.label(go)

    def _unless_holds(self, lowering: Lowering, holds: str, other: str) -> None:
        if holds != "true":
            function = self._functions.condition(lowering, holds)
            self._unless(f"call i1 {function}(ptr %st, ptr %rec, {self._word}, i64 %offset)", other)

    def _leaf(self, candidate: Candidate) -> None:
        if candidate.near is not None:
            outside = self.fresh("far")
            lowering = _WordLowering(self.layout, candidate)
            self._unless_holds(lowering, lowering.stays(candidate.near), outside)
            self._write(candidate, candidate.near)
            self.label(outside)
        self._write(candidate, candidate.far)

    def _write(self, candidate: Candidate, form: RecordForm) -> None:
        filling = self._functions.filling(candidate, form)
        self._give("tail", filling, f"ptr {form.symbol}")


def decoder_texts(layout: Layout, candidates: Sequence[Candidate], undefined: str) -> list[str]:
    """The LLVM function ``decode(st, rec, word, offset in the page)`` that fills in a record, and
    all that it calls."""
    functions = _Functions(layout, undefined)
    functions.tree(candidates, 0, "@decode")
    return functions.texts
