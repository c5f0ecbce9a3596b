"""Regions: a hot part of a page of guest code as one native function.

A region has a handler's signature and is installed by putting its address into the records of its
entries. Inside, operands are constants. In an optimised region guest registers are SSA values; in a
quick one they stay in the vCPU's state, so nothing has to be loaded on entry or written back on
exit. Whatever a region cannot do (a page fault, a rare case, an instruction that it cannot contain)
it leaves to the interpreter *before* the instruction, with all registers written back, so every
fault is precise.

A region depends on nothing but the code at certain offsets of a page: the page's address follows
from the record with which it is entered, and so does that of the page's copy, where operands are
read that a loader has relocated. So it serves every page, process and run that has the same code
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from ..ir import effects
from ..ir.access import Access
from ..ir.analysis import distance
from ..ir.value import Value, const
from ..isa.contract import STRICT
from .discover import Step, Steps, heads
from .emit import RARELY, USUALLY
from .flags import FlagPlan, flags_of
from .flow import ARGUMENTS, CC, PARAMETERS
from .layout import PAGE, PAGE_COPY, PAGE_RECORDS, Layout
from .liveness import dead_sets
from .reach import REACH_CC, asked
from .registers import RegisterLowering, used_as_numbers
from .tlb import METADATA
from .ways_out import STUBS

__all__ = ["Region", "region_text"]

# A load of what stays the same as long as the function runs.
_UNCHANGED, _NOTHING = "!invariant.load !7", "!7 = !{}"


class Region(Struct, frozen=True):
    """What to generate a region from: its steps, and the page offsets at which it can be entered.

    A ``quick`` region keeps registers in memory. An ``exact`` one checks the budget in all jumps,
    as the interpreter does. In a ``guarded`` page targets of indirect jumps are checked. In an
    optimised region, accesses by the instructions at the offsets ``misaligned`` are as fast when
    they are; it is left while alignment has to be checked.
    """

    steps: Steps
    entries: tuple[int, ...]
    quick: bool = False
    exact: bool = False
    guarded: bool = False
    misaligned: frozenset[int] = frozenset()


class _RegionLowering(RegisterLowering):
    def __init__(self, layout: Layout, region: Region, stubs: Iterable[str]):
        super().__init__(layout)
        self.region = region
        self.stubs = dict(zip(STUBS, stubs, strict=True))
        self.heads = heads(region.steps, region.entries)
        self.chains = {head: self._straight(head) for head in sorted(self.heads)}
        self.dead = {
            write
            for steps in self.chains.values()
            for write in dead_sets([step.block for step in steps])
        }
        self.in_memory = region.quick
        if not region.quick:
            self.plan = self._plan_flags()
            self.numbers = used_as_numbers(step.block for step in region.steps.values())
            self.indexed = set().union(*(step.indexed for step in region.steps.values()))
        self.ways_out: dict[str, str] = {}
        self.taken: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        self.offset = 0
        self.spent = 0

    def _plan_flags(self) -> FlagPlan:
        after = {head: self._after(steps[-1]) for head, steps in self.chains.items()}
        flags = flags_of(self.layout.isa.state)
        return FlagPlan(flags, self.chains, after, self.dead, self.region.entries)

    def _after(self, last: Step) -> set[int]:
        """The heads that may follow the last step of a basic block."""
        if last.dynamic:
            return self.heads
        return self.heads & {*last.targets, *((last.end,) if last.falls else ())}

    def op_set(self, value: effects.Set) -> None:
        if value not in self.dead or value.file in self.plan.flags:
            super().op_set(value)

    def op_pc(self, value: effects.Pc) -> None:
        self.names[value] = self.let(f"add i64 %page, {self.offset}")

    def operand(self, value: Value) -> str:
        if value.op != "field":
            return super().operand(value)
        # Other than the instruction, the field is not part of what the region was made of.
        at = self.region.steps[self.offset].relocated[str(value.attr)]
        place = self.pointer("%records", at - PAGE_RECORDS + PAGE_COPY)
        return self.let(f"load i{value.width}, ptr {place}, align 1, {_UNCHANGED}")

    # -- leaving
    def exit(self, kind: str, *values: int) -> str:
        """The label of an exit of this kind, taken from the current block with these values: see
        `leave_all`.

        A quick region has one exit of each kind. Where registers are SSA values there is one for
        each use, or all of them would have to be in the same host registers wherever it may leave.
        """
        name = kind if self.region.quick else f"{kind}.{len(self.taken)}"
        if self.open:
            self.taken.setdefault(name, []).append((self.at, values))
            self.ways_out[name] = self.way_out()
        return f"%exit_{name}"

    @property
    def by_last_byte(self) -> bool:
        return self.offset in self.region.misaligned

    def leave_it(self) -> str:
        return self.exit("redo", self.offset, self.spent)

    def look_again(
        self, va: str, tags: str, access: Access, write: bool, count: int, found: str
    ) -> tuple[str, str]:
        """By the stub `reach`, which also enters the page into the TLB. It keeps all host registers
        of integers, so that the code beside it need not be any other for its sake."""
        row, what = "", asked(access, write, count, self.offset)

        def look() -> None:
            nonlocal row
            reach = self.let(f"inttoptr i64 {self.load_state('reach')} to ptr")
            row = self.let(f"call {REACH_CC} i64 {reach}(ptr %st, i64 {va}, i64 {what})")
            self.branch(self.let(f"icmp slt i64 {row}, 0"), self.leave_it(), found, RARELY)

        label = self.aside(look)
        return row, label

    # -- going on
    def go(self, offset: int, spent: int, looks: bool, landing: int = 0) -> None:
        """Go to an offset of the page, ``spent`` instructions after the last update of the budget,
        which is checked if it ``looks``."""
        if offset not in self.heads and not looks:
            self.end(f"br label {self.exit('dispatch', offset, spent)}")
            return
        left = self.let("load i64, ptr %left")
        left = self.let(f"sub i64 {left}, {spent}")
        self.put(f"store i64 {left}, ptr %left")
        if looks:
            negative, on = self.let(f"icmp slt i64 {left}, 0"), self.fresh("on")
            self._poll(negative, on, offset, landing)
            self.label(on)
        if offset in self.heads:
            self.end(f"br label %b{offset}")
        else:
            self.end(f"br label {self.exit('dispatch', offset, 0)}")

    def _poll(self, spent: str, on: str, offset: int, landing: int) -> None:
        """Leave for the poll, on the way to an offset, if the condition ``spent`` is true."""
        if not landing:
            self.branch(spent, self.exit("poll", self.offset, offset), on, RARELY)
            return
        leaves = self.fresh("spent")
        self.branch(spent, leaves, on, RARELY)
        self.label(leaves)
        self.note_landing(landing)
        self.end(f"br label {self.exit('poll', self.offset, offset)}")

    def op_jump(self, value: effects.Jump) -> None:
        target = value.target
        away = distance(target)
        if away is not None and 0 <= self.offset + away < PAGE:
            # Calls check it too, or the caller's instructions would be charged to the function.
            calls = self.region.steps[self.offset].returns
            looks = away <= 0 or calls or self.region.exact
            self.go(self.offset + away, self.spent + 1, looks)
            return
        name = self.operand(target)
        if away is None:
            self._dynamic_jump(name, value.landing)
            return
        self._far(name)

    def _far(self, target: str, landing: int = 0) -> None:
        self.store_state("pc", target)
        if landing:
            self.store_state("far_landing", str(landing), "i8")
        kind = "land" if landing else "far"
        self.end(f"br label {self.exit(kind, self.offset, self.spent + 1)}")

    def _lands(self, offset: int, landing: int) -> bool:
        """Whether an indirect jump of this kind may lead to an offset without asking the ISA."""
        rule = self.layout.isa.landing
        if rule is None or not landing or not self.region.guarded:
            return True
        decoded, bits = self.region.steps[offset].decoded, 8 * self.layout.isa.fetch
        word = decoded.insn.pattern.encode(decoded.fields) & ((1 << bits) - 1)
        return bool(int(rule.admits(const(word, bits), const(landing, 8))))

    def _dynamic_jump(self, target: str, landing: int) -> None:
        """A jump to an address in a register: to a known place in the region, or out of it.

        Where registers are SSA values, LLVM may know the address, so all places are compared;
        elsewhere the one likely place is enough.
        """
        likely = self.region.steps[self.offset].likely
        places = {likely} if likely is not None else set()
        if not self.region.quick:
            places.update(step.end for step in self.region.steps.values() if step.returns)
            places.update(self.region.entries)
        away = self.fresh("away")
        offset = self.let(f"sub i64 {target}, %page")
        inside = [place for place in sorted(places & self.heads) if self._lands(place, landing)]
        labels = {place: self.fresh("place") for place in inside}
        arms = " ".join(f"i64 {place}, label {label}" for place, label in labels.items())
        self.end(f"switch i64 {offset}, label {away} [ {arms} ]")
        for place, label in labels.items():
            self.label(label)
            self.go(place, self.spent + 1, looks=True, landing=landing)
        self.label(away)
        self._far(target, landing)

    # -- the whole
    def chain(self, head: int) -> None:
        """Lower the steps from a head to the end of its basic block."""
        self.label(f"b{head}")
        steps = self.chains[head]
        self.begin_chain(head)
        for self.spent, step in enumerate(steps):
            self.offset = step.offset
            self.begin_step(step.offset)
            self.block(step.block)
            if not self.open:
                return
        self.go(steps[-1].end, len(steps), looks=False)

    def _straight(self, head: int) -> list[Step]:
        """The steps of a basic block."""
        steps = [self.region.steps[head]]
        while steps[-1].falls:
            following = steps[-1].end
            if following in self.heads or following not in self.region.steps:
                break
            steps.append(self.region.steps[following])
        return steps

    # -- exits
    def leave_all(self) -> None:
        """Write the exits: values that differ between the uses of an exit come in by phis."""
        for name, uses in self.taken.items():
            self.label(f"exit_{name}")
            first, second = (
                self.let(f"phi i64 {', '.join(f'[ {way[n]}, {at} ]' for at, way in uses)}")
                for n in range(2)
            )
            kind, way_out = name.partition(".")[0], self.ways_out[name]
            if kind == "redo":  # at an offset, after some instructions
                self._leave(way_out, self.stubs["redo"], self._record(first), second)
            elif kind in ("far", "land"):  # by the jump at an offset, after some instructions
                self._leave(way_out, self.stubs[f"go_{kind}"], self._record(first), second)
            elif kind == "poll":  # by the jump at an offset, to another
                pc = self.let(f"add i64 %page, {first}")
                self.note_spent(self._record(first), pc, in_region=True)
                self._leave(way_out, self.stubs["poll"], self._record(second), "0")
            else:  # to an offset, after some instructions
                record = self._record(first)
                self._leave(way_out, self.let(f"load ptr, ptr {record}"), record, second)

    def _record(self, offset: str) -> str:
        """The record of an offset in the page."""
        place = self.let(f"mul i64 {offset}, {self.layout.scale}")
        return self.let(f"getelementptr i8, ptr %records, i64 {place}")

    def _leave(self, way_out: str, target: str, record: str, spent: str) -> None:
        """Write all registers back, on a way out, and tail-call ``target`` with a record, ``spent``
        instructions after the last update of the budget."""
        budget = self.let(f"sub i64 {self.let('load i64, ptr %left')}, {spent}")
        self.put(f"store ptr {record}, ptr %to")
        self.put(f"store ptr {target}, ptr %through")
        self.put(f"store i64 {budget}, ptr %left")
        self.end(f"br label {way_out}")


def region_text(layout: Layout, symbol: str, region: Region, stubs: Sequence[str]) -> str:
    """An LLVM module that defines the region under ``symbol``; ``stubs`` are the symbols of
    `STUBS`, in that order."""
    lowering = _RegionLowering(layout, region, (f"@{stub}" for stub in stubs))
    for head in lowering.chains:
        lowering.chain(head)
    lowering.leave_all()
    lowering.write_ways_out()
    text = "\n".join(_entry(lowering) + lowering.lines + lowering.exits + _out(lowering))
    strict = " strictfp" if ".constrained." in text else ""
    declared = [f"declare {CC} void @{stub}({PARAMETERS})" for stub in stubs]
    opening = f"define {CC} void @{symbol}({PARAMETERS}) nounwind{strict} {{"
    return "\n".join((METADATA + _NOTHING, *declared, opening, text, "}", ""))


def _entry(lowering: _RegionLowering) -> list[str]:
    """The prologue: load registers into variables, and go to the block for the record."""
    body, region = _Text(lowering), lowering.region
    if region.misaligned and STRICT in lowering.layout.offsets:
        _unless_strict(lowering, body)
    shift = lowering.layout.scale.bit_length() - 1
    number = body.let("ptrtoint ptr %rec to i64")
    here = body.let(f"add i64 {body.let(f'lshr i64 {number}, {shift}')}, %pcb")
    offset = body.let(f"and i64 {here}, {PAGE - 1}")
    body.lines.append(f"  %page = and i64 {here}, {-PAGE}")
    down = body.let(f"mul i64 {offset}, {-lowering.layout.scale}")
    body.lines.append(f"  %records = getelementptr i8, ptr %rec, i64 {down}")
    body.lines.append("  store i64 %budget, ptr %left")
    body.lines += lowering.bring_in()
    first, *others = region.entries
    arms = " ".join(f"i64 {entry}, label %b{entry}" for entry in others)
    body.lines.append(f"  switch i64 {offset}, label %b{first} [ {arms} ]")
    variables = ["  %left = alloca i64", "  %to = alloca ptr", "  %through = alloca ptr"]
    variables += lowering.flag_variables()
    return ["entry:", *variables, *lowering.allocas, *body.lines]


def _unless_strict(lowering: _RegionLowering, body: _Text) -> None:
    """Leave to the interpreter while alignment has to be checked."""
    offset = lowering.layout.offsets[STRICT]
    strict = body.let(f"load i8, ptr {body.let(f'getelementptr i8, ptr %st, i64 {offset}')}")
    free = body.let(f"icmp eq i8 {strict}, 0")
    arguments = ARGUMENTS.format(rec="%rec", pcb="%pcb", budget="%budget", tlb="%tlb")
    body.lines += [
        f"  br i1 {free}, label %free, label %strict, {USUALLY}",
        "strict:",
        f"  musttail call {CC} void {lowering.stubs['redo']}({arguments})",
        "  ret void",
        "free:",
    ]


def _out(lowering: _RegionLowering) -> list[str]:
    """The epilogue: write registers back, and go to a stub or a handler."""
    body = _Text(lowering)
    body.lines += lowering.write_back()
    to, through = body.let("load ptr, ptr %to"), body.let("load ptr, ptr %through")
    left = body.let("load i64, ptr %left")
    arguments = ARGUMENTS.format(rec=to, pcb="%pcb", budget=left, tlb="%tlb")
    body.lines += [f"  musttail call {CC} void {through}({arguments})", "  ret void"]
    return ["out:", *body.lines]


class _Text:
    """Collects lines outside the lowering's current block, with names from the same supply."""

    def __init__(self, lowering: _RegionLowering):
        self._lowering = lowering
        self.lines: list[str] = []

    def let(self, line: str) -> str:
        """Append an instruction with a result; its name."""
        name = self._lowering.fresh()
        self.lines.append(f"  {name} = {line}")
        return name
