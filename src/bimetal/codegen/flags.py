"""Flags that are made when somebody looks at them.

Many instructions set all flags, and hardly anybody looks: the branch behind a comparison, and
whoever finds a region left. So in an optimised region such a write only remembers what the flags
are made of: two operands, which mostly are in registers anyway, and which *recipe* makes flags of
them. A loop's comparison then costs what its branch does; the flags themselves are made on the way
out. What has no recipe of two operands is kept as bits.

Flags are the single registers of one bit, whatever the instruction set calls them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ..ir.analysis import Analysis
from ..ir.effects import Effect, Set
from ..ir.ops import OPS
from ..ir.value import Block, Value
from ..isa.state import StateSpec
from .discover import Step
from .layout import Layout
from .tlb import TlbLowering

__all__ = ["FlagLowering", "FlagPlan", "flags_of"]

MOST_OPERANDS = 2
BITS = 0
"""The kind of flags that are kept as bits; others are the numbers of recipes."""
Kinds = frozenset[int]


def flags_of(spec: StateSpec) -> frozenset[str]:
    """The flags of an instruction set."""
    return frozenset(f.name for f in spec.files.values() if f.width == f.count == 1)


class Recipe(Struct, frozen=True):
    """What an instruction makes of operands: the new value of each flag."""

    flags: Mapping[str, Value]
    operands: tuple[Value, ...]


class Write(Struct, frozen=True):
    """An instruction's write of flags: of ``kind``, whether it is of all of them at once, and the
    operands if they have a recipe."""

    kind: int
    whole: bool
    operands: tuple[Value, ...] = ()


def _whole(block: Block, flags: frozenset[str]) -> dict[str, Value]:
    """The new values of all flags, if a block writes them without a condition and does nothing
    behind the first of these writes that could look at them; empty otherwise."""
    found: dict[str, Value] = {}
    for value in block:
        if isinstance(value, Set):
            if value.file in flags:
                found[value.file] = value.new
        elif found and isinstance(value, Effect):
            return {}
    sets = [write for write in Analysis(block).sets if write.file in flags]
    return found if len(sets) == len(found) == len(flags) else {}


def _is_pure(value: Value) -> bool:
    return not isinstance(value, Effect) and (value.op in OPS or value.op == "select")


class _Shape:
    """What values are made of, so that equal instructions share a recipe."""

    def __init__(self, values: Iterable[Value]):
        self.operands: list[Value] = []
        self._numbers: dict[Value, int] = {}
        self._parts: list[tuple[object, ...]] = []
        self.results = tuple(self._number(value) for value in values)

    def _number(self, value: Value) -> int:
        number = self._numbers.get(value)
        if number is None:
            part: tuple[object, ...]
            if value.known or _is_pure(value):
                arguments = (self._number(argument) for argument in value.args)
                part = (value.op, value.width, value.attr, *arguments)
            else:
                part = ("operand", value.width, len(self.operands))
                self.operands.append(value)
            number = self._numbers[value] = len(self._parts)
            self._parts.append(part)
        return number

    @property
    def key(self) -> tuple[object, ...]:
        """The same for what is made alike."""
        return self.results, *self._parts

    @property
    def fits(self) -> bool:
        """Whether the operands can be remembered."""
        return len(self.operands) <= MOST_OPERANDS and all(o.width <= 64 for o in self.operands)


class FlagPlan:
    """Where the instructions of a region write flags, and which kinds come to each basic block.

    ``chains`` are its basic blocks by their offsets, ``after`` the offsets that each may go to, and
    ``dead`` the writes that nobody can see. At ``entries`` flags are bits.
    """

    def __init__(
        self,
        flags: frozenset[str],
        chains: Mapping[int, Sequence[Step]],
        after: Mapping[int, Iterable[int]],
        dead: set[Set],
        entries: Iterable[int],
    ):
        self.flags = flags
        self.recipes: dict[int, Recipe] = {}
        self._known: dict[tuple[object, ...], int] = {}
        self.writes: dict[int, Write] = {}
        for steps in chains.values():
            for step in steps:
                write = self._write(step, dead)
                if write is not None:
                    self.writes[step.offset] = write
        self.at = self._reaching(chains, after, entries)
        self.keeps_bits = any(write.kind == BITS for write in self.writes.values())

    def _write(self, step: Step, dead: set[Set]) -> Write | None:
        sets = [write for write in Analysis(step.block).sets if write.file in self.flags]
        if dead.issuperset(sets):
            return None
        whole = _whole(step.block, self.flags)
        shape = _Shape(whole[name] for name in sorted(whole))
        if not whole or not shape.fits:
            return Write(BITS, bool(whole))
        kind, operands = self._known.setdefault(shape.key, len(self._known) + 1), shape.operands
        self.recipes.setdefault(kind, Recipe(whole, tuple(operands)))
        return Write(kind, True, tuple(operands))

    def _reaching(
        self,
        chains: Mapping[int, Sequence[Step]],
        after: Mapping[int, Iterable[int]],
        entries: Iterable[int],
    ) -> dict[int, Kinds]:
        at = dict.fromkeys(chains, Kinds())
        at.update(dict.fromkeys(entries, Kinds({BITS})))
        work = [head for head in chains if at[head]]
        while work:
            head = work.pop()
            kinds = at[head]
            for step in chains[head]:
                if (write := self.writes.get(step.offset)) is not None:
                    # The last instruction may leave before it writes.
                    before = kinds if step is chains[head][-1] else Kinds()
                    kinds = before | {write.kind}
            for following in after[head]:
                if not kinds <= at[following]:
                    at[following] |= kinds
                    work.append(following)
        return {head: kinds or Kinds({BITS}) for head, kinds in at.items()}


class FlagLowering(TlbLowering):
    """Registers of a region that are flags, by a `FlagPlan`.

    Three variables say what they are: ``%flags``, the kind, and the operands of a recipe.
    """

    def __init__(self, layout: Layout):
        super().__init__(layout)
        self.plan = FlagPlan(frozenset(), {}, {}, set(), ())
        self.kinds = Kinds({BITS})
        self._write: Write | None = None
        self._new: dict[str, str] = {}
        self._current: dict[str, str] = {}
        self._ways_out: dict[Kinds, str] = {}

    @abstractmethod
    def cell(self, name: str) -> str:
        """The variable of a flag that is kept as a bit."""

    def begin_chain(self, head: int) -> None:
        """A basic block begins."""
        self.kinds, self._current = self.plan.at.get(head, self.kinds), {}

    def begin_step(self, offset: int) -> None:
        """An instruction begins: one that may write some of the flags wants all to be bits."""
        self._write, self._new = self.plan.writes.get(offset), {}
        if self._write is not None and not self._write.whole:
            self._keep_bits({name: self.flag(name) for name in sorted(self.plan.flags)})
            self._current = {}

    def flag(self, name: str) -> str:
        """A flag's value."""
        if name in self._current:
            return self._current[name]
        found = ""
        for kind in sorted(self.kinds):
            value = self._made(kind, name)
            if found:
                is_kind = self.let(f"icmp eq i32 {self.let('load i32, ptr %flags')}, {kind}")
                value = self.let(f"select i1 {is_kind}, i1 {value}, i1 {found}")
            found = value
        return found

    def set_flag(self, name: str, new: Value) -> None:
        """Write a flag; the last one of a whole write completes it."""
        if self._write is None:
            return  # nobody can see it
        if not self._write.whole:
            self.put(f"store i1 {self.operand(new)}, ptr {self.cell(name)}")
            return
        self._new[name] = self.operand(new)
        if len(self._new) < len(self.plan.flags):
            return
        self._current = self._new
        if self._write.kind == BITS:
            self._keep_bits(self._current)
            return
        for n, operand in enumerate(self._write.operands):
            wide = self.widen(self.operand(operand), "i64", operand.width)
            self.put(f"store i64 {wide}, ptr %flags{n}")
        self._be(self._write.kind)

    def _be(self, kind: int) -> None:
        """From here on the flags are of a kind."""
        self.kinds = Kinds({kind})
        if self.plan.recipes:
            self.put(f"store i32 {kind}, ptr %flags")

    def _keep_bits(self, bits: Mapping[str, str]) -> None:
        """Keep flags as bits."""
        for name, bit in bits.items():
            self.put(f"store i1 {bit}, ptr {self.cell(name)}")
        self._be(BITS)

    def _made(self, kind: int, name: str) -> str:
        """A flag of a kind, out of the variables."""
        if kind == BITS:
            return self.let(f"load i1, ptr {self.cell(name)}")
        recipe, outer = self.plan.recipes[kind], self.names
        self.names = {}
        for n, operand in enumerate(recipe.operands):
            wide = self.let(f"load i64, ptr %flags{n}")
            self.names[operand] = self.narrow(wide, "i64", operand.width)
        self._make(recipe.flags[name])
        bit, self.names = self.operand(recipe.flags[name]), outer
        return bit

    def _make(self, value: Value) -> None:
        """Lower a pure value and what it is made of."""
        if value in self.names or value.known:
            return
        for argument in value.args:
            self._make(argument)
        self.one(value)

    def flag_variables(self) -> list[str]:
        """The variables, for the function's entry."""
        if not self.plan.recipes:
            return []
        operands = [f"  %flags{n} = alloca i64" for n in range(MOST_OPERANDS)]
        return ["  %flags = alloca i32", *operands, f"  store i32 {BITS}, ptr %flags"]

    def way_out(self) -> str:
        """The label to leave the region by from here: what lies behind it writes the flags back."""
        if not self.plan.writes:
            return "%out"
        return self._ways_out.setdefault(self.kinds, f"%flags_out{len(self._ways_out)}")

    def write_ways_out(self) -> None:
        """Write the code behind these labels, which goes on at ``%out``."""
        for way, label in self._ways_out.items():
            self.label(label)
            first, *others = sorted(way)
            arms = " ".join(f"i32 {kind}, label %flags_of{kind}" for kind in others)
            now = self.let("load i32, ptr %flags") if others else BITS
            self.end(f"switch i32 {now}, label %flags_of{first} [ {arms} ]")
        for kind in sorted(Kinds().union(*self._ways_out)):
            self.label(f"%flags_of{kind}")
            if kind != BITS or self.plan.keeps_bits:
                for name in sorted(self.plan.flags):
                    bit = self.widen(self._made(kind, name), "i8", 1)
                    self.store_state(name, bit, "i8")
            self.end("br label %out")
