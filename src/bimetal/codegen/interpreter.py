"""The interpreter of an ISA: every handler, the decoder and the runtime, as loaded native code."""

from __future__ import annotations

import ctypes
import struct
import threading
from contextlib import closing

from msgspec import Struct

from ..base.late import late
from ..base.log import logger
from ..isa.describe import Isa
from .description import CONSTANTS
from .identity import engine_digest
from .layout import PAGE, Layout
from .library import Library
from .store import CodeStore
from .ways_out import STUBS

__all__ = ["Interpreter", "interpreter", "prepare"]

_log = logger("interpreter")

MAKING = "bimetal.codegen.making:make_library"
"""What compiles, with all that describes code to LLVM."""

EXPORTED = ("enter", "reach", "h_decode", "h_cross", CONSTANTS, *STUBS)
"""What is looked for in an interpreter."""


class Interpreter(Struct, frozen=True):
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
    with closing(CodeStore()) as store, store.turn(_tell_of_another):
        found = _there(isa, shared)
        if found is None:
            image = late(MAKING)(isa, shared, EXPORTED)
            store.put(_key(isa, shared), image)
            found = _load(isa, shared, image)
        return found


def _tell_of_another() -> None:
    _log.info("waiting for another process that compiles an interpreter: it takes a while")


def prepare(isa: Isa, shared: bool) -> None:
    """Load an interpreter that was compiled before, while other threads do something else. Without
    one there is nothing to do yet."""
    with _making:
        _there(isa, shared)


def _there(isa: Isa, shared: bool) -> Interpreter | None:
    """The interpreter, if it is loaded or has been compiled before."""
    if (isa, shared) not in _made:
        image = _stored(isa, shared)
        return None if image is None else _load(isa, shared, image)
    return _made[isa, shared]


def _load(isa: Isa, shared: bool, image: bytes) -> Interpreter:
    made = _made[isa, shared] = Interpreter(Layout.of(isa, shared), Library(image))
    return made


def _key(isa: Isa, shared: bool) -> str:
    return f"interpreter {isa.name} {engine_digest(isa, shared).hex()}"


def _stored(isa: Isa, shared: bool) -> bytes | None:
    """The image of an interpreter that was made before, or None."""
    with closing(CodeStore()) as store:
        key = _key(isa, shared)
        store.touch([key])
        return store.get(key)
