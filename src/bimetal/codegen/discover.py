"""Finding the instructions of a region: what can be reached from its entries inside one page.

A region stays within a page of guest code, because the fetch TLB and the check for changed code
work by page. Only instructions that have been executed are followed, so paths that never ran cost
no compile time; taking one leaves the region for the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, field

from ..ir.analysis import Analysis, distance
from ..ir.effects import Get, Jump, Set
from ..ir.ops import signed
from ..ir.value import Block, Value
from ..isa.decoding import USUAL, Decoding
from ..isa.describe import Decoded, Isa
from .floating import for_reference
from .layout import PAGE

__all__ = ["Code", "Step", "Steps", "discover", "heads", "places_entered", "run_start"]


class Step(Struct):
    """One instruction of a region, at ``offset`` in its page, with all fields fixed.

    ``targets`` are the page offsets that it may jump to. ``falls`` says whether it may fall through
    to the next instruction. ``dynamic`` says whether it jumps to an address in a register, and
    ``likely`` is that address as an offset, where the code before it shows what it is. ``returns``
    says whether it is a call, which leaves the address of the next instruction behind. ``resumes``
    says whether it follows an instruction that the interpreter has to execute. ``indexed`` has the
    files of registers that it accesses by numbers that are not constant. The fields that are
    ``relocated`` (`Isa`), by the offsets of their bytes in the page, are not fixed.
    """

    offset: int
    decoded: Decoded
    block: Block
    targets: list[int] = field(default_factory=list)
    falls: bool = True
    dynamic: bool = False
    likely: int | None = None
    returns: bool = False
    resumes: bool = False
    indexed: set[str] = field(default_factory=set)
    relocated: dict[str, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The offset of the next instruction in memory."""
        return self.offset + self.decoded.length

    @property
    def depends_on(self) -> Iterator[tuple[int, int]]:
        """What of the page's code it was made of, from offsets to those behind the last ones."""
        start = self.offset
        for name, at in sorted(self.relocated.items(), key=lambda each: each[1]):
            yield start, at
            start = at + self.decoded.insn.pattern.widths[name] // 8
        if start < self.end:
            yield start, self.end


Steps = dict[int, Step]


class _Known:
    """Registers known to hold an address at a fixed distance from the start of the page.

    A call beyond a jump's range takes two instructions: one puts the upper part of the distance
    into a register, the other jumps to that register plus the rest.
    """

    def __init__(self) -> None:
        self._distance: dict[tuple[str, int], int | None] = {}

    def of(self, value: Value, offset: int) -> int | None:
        """A value of the instruction at ``offset`` as a page offset; None if it is not known."""
        if value.op == "pc":
            return offset
        if isinstance(value, Get) and value.index.known:
            return self._distance.get((value.file, int(value.index)))
        if value.op in ("add", "and") and value.args[1].known:
            base = self.of(value.args[0], offset)
            if base is None:
                return None
            other = signed(int(value.args[1]), value.width)
            return base + other if value.op == "add" else base & other
        return None

    def follow(self, offset: int, sets: Iterable[Set]) -> None:
        """Record what the register writes of the instruction at ``offset`` make known."""
        self._distance |= {
            (value.file, int(value.index)): self.of(value.new, offset)
            for value in sets
            if value.index.known
        }


def _note_jumps(step: Step, jumps: Iterable[Jump], known: _Known) -> None:
    """Record where an instruction jumps to."""
    for jump in jumps:
        away = distance(jump.target)
        if away is None:
            step.dynamic = True
            likely = known.of(jump.target, step.offset)
            if likely is not None and 0 <= likely < PAGE:
                step.likely = likely
                step.targets.append(likely)
        elif 0 <= step.offset + away < PAGE:
            step.targets.append(step.offset + away)


def _links(does: Analysis) -> bool:
    """Whether it is a call: a jump that also writes the address of the next instruction."""
    return not does.falls and any(
        value.new.op == "add" and value.new.args[0].op == "pc" for value in does.sets
    )


class Code(Struct, frozen=True):
    """A page of code and how to decode it: the ISA, the page's bytes, decode mode and features."""

    isa: Isa
    content: bytes
    decoding: Decoding = USUAL

    def at(self, offset: int) -> Decoded | None:
        """The instruction at an offset; None if it is undefined or not wholly within the page."""
        return self.isa.read(self.content[offset : offset + self.isa.fetch], self.decoding)


def _step(code: Code, offset: int, known: _Known) -> Step | None:
    """The instruction at an offset; None if no region can hold it."""
    decoded = code.at(offset)
    if decoded is None:
        return None
    relocated = code.isa.relocated(decoded)
    fixed = {name: value for name, value in decoded.fields.items() if name not in relocated}
    does = Analysis(decoded.insn.trace(fixed))
    if does.frame or any(for_reference(operation) for operation in does.floats):
        return None
    step = Step(offset, decoded, does.block)
    step.relocated = {name: offset + at for name, at in relocated.items()}
    _note_jumps(step, does.jumps, known)
    step.falls, step.returns, step.indexed = does.falls, _links(does), does.indexed
    known.follow(offset, does.sets)
    return step


def _behind(code: Code, offset: int) -> int:
    """The offset after an instruction that no region can hold; its own if it is undefined."""
    decoded = code.at(offset)
    return offset + decoded.length if decoded is not None else offset


def discover(
    code: Code,
    entries: Iterable[int],
    executed: Callable[[int], bool],
    limit: int,
    spread: int | None = None,
) -> Steps:
    """The steps that can be reached from ``entries``, nearest first, at most ``limit``, by offset.

    ``executed`` tells whether an offset has ever been executed. After ``spread`` steps (default:
    ``limit``) no more jumps are followed.
    """
    steps: Steps = {}
    refused: set[int] = set()
    work = list(entries)
    roots = len(work)
    while work and (roots > 0 or len(steps) < (spread or limit)):
        offset, resumes, known, roots = work.pop(0), False, _Known(), roots - 1
        while offset not in steps and offset not in refused and len(steps) < limit:
            if offset >= PAGE or not executed(offset):
                break
            step = _step(code, offset, known)
            if step is None:
                refused.add(offset)
                offset, resumes, known = _behind(code, offset), True, _Known()
                continue
            steps[offset] = step
            step.resumes, resumes = resumes, False
            work += step.targets
            if step.returns and step.end < PAGE:
                work.append(step.end)
            if not step.falls or step.end >= PAGE:
                break
            offset = step.end
    return steps


def run_start(code: Code, executed: Callable[[int], bool], offset: int) -> int:
    """The start of the straight run of executed code, without a jump, that ends at ``offset``."""
    first = offset
    for place in range(offset - code.isa.granule, -1, -code.isa.granule):
        if not executed(place):
            continue
        step = _step(code, place, _Known())
        if step is None or not step.falls or step.end != first:
            break
        first = place
    return first


def places_entered(steps: Steps) -> list[int]:
    """Offsets where control enters from outside: functions called here, return addresses, places
    after instructions that the interpreter executes, and loop heads, where the budget runs out."""
    places: set[int] = set()
    for step in steps.values():
        if step.returns:
            places.update((step.end, *step.targets))
        if step.resumes:
            places.add(step.offset)
        places.update(target for target in step.targets if target <= step.offset)
    return sorted(places & steps.keys())


def heads(steps: Steps, entries: Iterable[int]) -> set[int]:
    """The offsets at which basic blocks begin."""
    found = set(entries)
    for step in steps.values():
        found.update(step.targets)
        if step.targets or step.returns or step.dynamic:
            found.add(step.end)
        if step.resumes:
            found.add(step.offset)
    return found & steps.keys()
