"""The interpreter of an ISA: every handler, the decoder and the runtime.

There is an LLVM module for each chapter of the ISA, and the store keeps its object under a digest
of its text: a chapter whose handlers have not changed is not compiled again.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..base.log import logger
from ..ir.analysis import Analysis, relative
from ..ir.value import Value
from ..isa.describe import Insn, Isa
from ..isa.names import INSTRUCTION_SETS
from .compiling import compile_objects
from .decoder import Candidate, RecordForm, decoder_text
from .handler import handler_text
from .layout import PAGE, Layout
from .modules import modules
from .native import PACKAGE, Library, compiler_digest, sources_digest
from .routine import routine_text
from .runtime import runtime
from .store import CodeStore
from .stubs import stubs_text
from .tlb import METADATA

__all__ = ["Interpreter", "engine_digest", "interpreter", "interpreter_modules", "prepare"]

_log = logger("interpreter")

_PREAMBLE = """
attributes #0 = { nounwind }
attributes #1 = { nounwind }
attributes #2 = { nounwind }
declare i32 @memcmp(ptr, ptr, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare i64 @getrandom(ptr, i64, i32)
"""


def _distances(insn: Insn) -> list[Value]:
    """The distances of an instruction's jumps that are relative to its own address."""
    targets = (jump.target for block in insn.variants().values() for jump in Analysis(block).jumps)
    return [away for target in targets if (away := relative(target)) is not None]


def _candidates(layout: Layout, insn: Insn, texts: list[str]) -> list[Candidate]:
    """Append an instruction's handlers to ``texts``; the candidates that the decoder needs."""
    found, distances = [], _distances(insn)
    # A jump to the instruction itself is always a near one.
    stays = bool(distances) and all(away.known and not int(away) for away in distances)
    for number, (fixed, block) in enumerate(insn.variants().items()):
        base = "h_" + "".join(c if c.isalnum() else "_" for c in f"{insn.name}_{number}")
        symbol = f"{base}_{id_of(insn)}"
        text, slots, entry = handler_text(layout, symbol, insn, block, near=stays)
        texts.append(text)
        near = None
        if distances and not stays:
            text, near_slots, near_entry = handler_text(
                layout, symbol + "_near", insn, block, near=True
            )
            texts.append(text)
            near = RecordForm(near_entry, near_slots)
        mask, match = insn.pattern.mask, insn.pattern.match
        for name, value in fixed:
            for piece in (p for p in insn.pattern.pieces if p.name == name):
                bits = (1 << piece.width) - 1
                mask |= bits << piece.at
                match |= (value >> piece.low & bits) << piece.at
        found.append(Candidate(insn, dict(fixed), mask, match, RecordForm(entry, slots), near))
    return found


def id_of(insn: Insn) -> str:
    """A unique name for each encoding: several may share a mnemonic."""
    return f"{insn.pattern.match:x}_{insn.pattern.mask:x}"


def interpreter_modules(layout: Layout) -> list[str]:
    """The LLVM text of all modules, starting with the decoder's and the runtime's."""
    candidates: list[Candidate] = []
    chapters: dict[str, list[str]] = {}
    for insn in layout.isa.ordered():
        candidates += _candidates(layout, insn, chapters.setdefault(insn.extension, []))
    core = [
        decoder_text(layout, candidates, "@h_undefined"),
        *(routine_text(layout, routine) for routine in runtime(layout).values()),
        stubs_text(layout, "rt_undefined"),
    ]
    return modules(METADATA + _PREAMBLE, [core, *chapters.values()])


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A loaded interpreter: native code, its entry point and blank records."""

    layout: Layout
    library: Library

    def blank_records(self) -> bytes:
        """The records of a page of which nothing has been decoded."""
        layout = self.layout
        inside = PAGE // layout.isa.granule
        over = layout.isa.fetch // layout.isa.granule
        size = layout.record
        decode = struct.pack("<Q", self.library.address("h_decode")).ljust(size, b"\0")
        cross = struct.pack("<Q", self.library.address("h_cross")).ljust(size, b"\0")
        # The spare records serve `h_straddle`: all ones match no key.
        work = bytes(8).ljust(size, b"\xff")
        return decode * inside + cross * over + work * (layout.records - inside - over)


@cache
def engine_digest(isa: Isa, shared: bool) -> bytes:
    """A digest of all that an ISA's native code depends on besides the guest: part of every key."""
    own = find_spec(INSTRUCTION_SETS[isa.name])
    assert own is not None
    folders = [PACKAGE / name for name in ("ir", "isa", "codegen")]
    sources = sources_digest(*folders, Path(own.origin or "").parent)
    return sources + f"{isa.name} {shared:d}".encode()


_making = threading.Lock()
_made: dict[tuple[Isa, bool], Interpreter] = {}


def interpreter(isa: Isa, shared: bool = True) -> Interpreter:
    """The interpreter of an ISA, compiled at its first use on a host and then kept on disk.

    There are two of each: for memory that is ``shared`` by several vCPUs, and for a single vCPU.
    All machines of a process use the same ones, as they never change.
    """
    with _making:  # otherwise two machines created at once would both compile it
        return _there(isa, shared) or _load(isa, shared, _compiled(isa, shared))


def prepare(isa: Isa, shared: bool) -> None:
    """Load an interpreter that was compiled before: LLVM needs no GIL for it, so other threads can
    do something else meanwhile. Without one there is nothing to do yet."""
    with _making:
        if found := _there(isa, shared):
            found.library.address("enter")  # what is loaded is linked when it is first looked into


def _there(isa: Isa, shared: bool) -> Interpreter | None:
    """The interpreter, if it is loaded or has been compiled before."""
    if (isa, shared) not in _made:
        objects = _stored(isa, shared)
        return None if objects is None else _load(isa, shared, objects)
    return _made[isa, shared]


def _load(isa: Isa, shared: bool, objects: list[bytes]) -> Interpreter:
    made = _made[isa, shared] = Interpreter(Layout.of(isa, shared), Library(*objects))
    return made


def _key(isa: Isa, shared: bool) -> str:
    return f"interpreter {isa.name} {engine_digest(isa, shared).hex()}"


def _stored(isa: Isa, shared: bool) -> list[bytes] | None:
    """The objects of an interpreter compiled before; None if one of them is missing."""
    with closing(CodeStore()) as store:
        key = _key(isa, shared)
        listed = store.get(key)
        if listed is None:
            return None
        store.touch([key])
        return store.contents(json.loads(listed))


def _compiled(isa: Isa, shared: bool) -> list[bytes]:
    """The objects of an interpreter; those missing from the store are compiled and added."""
    _log.info("compiling the interpreter for %s, once: it takes a while", isa.name)
    texts = {_module_key(text): text for text in interpreter_modules(Layout.of(isa, shared))}
    with closing(CodeStore()) as store:
        objects = {each: store.get(each) for each in texts}
        lacking = [each for each, content in objects.items() if content is None]
        made = compile_objects([texts[each] for each in lacking])
        for each, content in zip(lacking, made, strict=True):
            objects[each] = content
            store.put(each, content)
        store.put(_key(isa, shared), json.dumps([*texts]).encode())
    return [content for content in objects.values() if content is not None]


def _module_key(text: str) -> str:
    return f"module {hashlib.sha256(compiler_digest() + text.encode()).hexdigest()}"
