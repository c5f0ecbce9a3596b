"""The interpreter of an ISA: every handler, the decoder and the runtime.

There is an LLVM module for each chapter of the ISA, and the store keeps its object under a digest
of its text: a chapter whose handlers have not changed is not compiled again.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..base.log import logger
from ..isa.describe import Isa
from ..isa.names import INSTRUCTION_SETS
from .compiling import LIBRARY, STENCILS, compile_objects
from .description import CONSTANTS
from .extract import stencils_in
from .layout import PAGE, Layout
from .native import PACKAGE, Library, compiler_digest, sources_digest
from .program import Program
from .store import CodeStore

__all__ = ["Interpreter", "engine_digest", "interpreter", "prepare"]

_log = logger("interpreter")


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

    def constants(self) -> bytes:
        """The constants that runs refer to, which are to be within 2 GiB of them."""
        place = self.library.address(CONSTANTS)
        size = ctypes.c_uint64.from_address(place).value
        return ctypes.string_at(place + 8, size)


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
        return _there(isa, shared) or _in_turn(isa, shared)


def _in_turn(isa: Isa, shared: bool) -> Interpreter:
    """An interpreter that is not in the store, unless another process is about to put it there."""
    with closing(CodeStore()) as store, store.turn():
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
    program = Program(Layout.of(isa, shared))
    with closing(CodeStore()) as store:
        stencils = stencils_in(_objects(store, program.stencil_modules(), STENCILS).values())
        objects = _objects(store, program.modules(stencils), LIBRARY)
        store.put(_key(isa, shared), json.dumps([*objects]).encode())
    return [*objects.values()]


def _objects(store: CodeStore, texts: Iterable[str], kind: str) -> dict[str, bytes]:
    """The objects of modules by their keys in the store, where all of them are then."""
    keys = {_module_key(text, kind): text for text in texts}
    objects = {key: content for key in keys if (content := store.get(key)) is not None}
    lacking = [key for key in keys if key not in objects]
    made = compile_objects([keys[key] for key in lacking], kind)
    for key, content in zip(lacking, made, strict=True):
        objects[key] = content
        store.put(key, content)
    return {key: objects[key] for key in keys}


def _module_key(text: str, kind: str) -> str:
    digest = hashlib.sha256(compiler_digest() + kind.encode() + text.encode())
    return f"module {digest.hexdigest()}"
