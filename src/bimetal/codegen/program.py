"""All of an interpreter as LLVM text: the handlers of each chapter of the ISA and their stencils,
the decoder and the runtime.

Stencils are compiled first: handlers lead to what is made of them.
"""

from __future__ import annotations

from msgspec import Struct

from ..ir.analysis import Analysis, relative
from ..ir.value import Block, Value
from ..isa.describe import Insn
from .decoder import Candidate, RecordForm, decoder_texts
from .description import description
from .handler import handler_text
from .hole import Stencils
from .layout import Layout
from .modules import modules, pieces
from .routine import routine_text
from .runs import runs_text
from .runtime import runtime
from .stencil import go_on_text, stencil_module, stencil_text, way_out_text
from .stubs import stubs_text
from .tlb import METADATA

__all__ = ["Program"]

_PREAMBLE = """
attributes #0 = { nounwind }
attributes #1 = { nounwind }
attributes #2 = { nounwind }
declare i32 @memcmp(ptr, ptr, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare i64 @getrandom(ptr, i64, i32)
"""


class _Handler(Struct, frozen=True):
    """The text of a handler's forms, the symbol that records get, the text of its stencil, and
    whether a run ends with it."""

    text: str
    entry: str
    stencil: str
    ends: bool

    def described(self, stencils: Stencils) -> str:
        """The handler's text and what it leads to."""
        stencil = stencils.by_symbol.get(self.entry[1:])
        return self.text + description(self.entry, stencil, self.ends)


class Program:
    """The modules of an interpreter for one layout."""

    def __init__(self, layout: Layout):
        self._layout = layout
        self.candidates: list[Candidate] = []
        self._chapters: dict[str, list[_Handler]] = {}
        for insn in layout.isa.ordered():
            self._add(insn, self._chapters.setdefault(insn.extension, []))

    def _add(self, insn: Insn, chapter: list[_Handler]) -> None:
        """Add an instruction's handlers to its chapter, and what the decoder has to know of it."""
        distances = _distances(insn)
        # A jump to the instruction itself is always a near one.
        stays = bool(distances) and all(away.known and not int(away) for away in distances)
        for number, (fixed, block) in enumerate(insn.variants().items()):
            base = "h_" + "".join(c if c.isalnum() else "_" for c in f"{insn.name}_{number}")
            symbol = f"{base}_{id_of(insn)}"
            far, near = self._handler(chapter, symbol, insn, block, stays), None
            if distances and not stays:
                near = self._handler(chapter, symbol + "_near", insn, block, True)
            mask, match = insn.pattern.mask, insn.pattern.match
            for name, value in fixed:
                for piece in (p for p in insn.pattern.pieces if p.name == name):
                    bits = (1 << piece.width) - 1
                    mask |= bits << piece.at
                    match |= (value >> piece.low & bits) << piece.at
            self.candidates.append(Candidate(insn, dict(fixed), mask, match, far, near))

    def _handler(
        self, chapter: list[_Handler], symbol: str, insn: Insn, block: Block, near: bool
    ) -> RecordForm:
        layout, does = self._layout, Analysis(block)
        text, slots, entry = handler_text(layout, symbol, insn, block, near)
        stencil = stencil_text(layout, symbol, insn, block, near, slots)
        chapter.append(_Handler(text, entry, stencil, bool(does.jumps)))
        return RecordForm(entry, slots)

    def stencil_modules(self) -> list[str]:
        """The modules of stencils, to be compiled with `native.compile_stencils`."""
        others = [go_on_text(self._layout), way_out_text(self._layout)]
        groups = [[each.stencil for each in chapter] for chapter in self._chapters.values()]
        return [stencil_module(piece) for piece in pieces([others, *groups])]

    def modules(self, stencils: Stencils) -> list[str]:
        """All other modules, starting with those of the decoder and the runtime."""
        layout = self._layout
        core = [
            *decoder_texts(layout, self.candidates, "@h_undefined"),
            *(routine_text(layout, routine) for routine in runtime(layout).values()),
            stubs_text(layout, "rt_undefined"),
            runs_text(layout, stencils),
        ]
        chapters = (
            [each.described(stencils) for each in chapter] for chapter in self._chapters.values()
        )
        return modules(METADATA + _PREAMBLE, [core, *chapters])


def _distances(insn: Insn) -> list[Value]:
    """The distances of an instruction's jumps that are relative to its own address."""
    targets = (jump.target for block in insn.variants().values() for jump in Analysis(block).jumps)
    return [away for target in targets if (away := relative(target)) is not None]


def id_of(insn: Insn) -> str:
    """A unique name for each encoding: several may share a mnemonic."""
    return f"{insn.pattern.match:x}_{insn.pattern.mask:x}"
