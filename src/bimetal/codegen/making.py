"""Compiling the interpreter of an ISA.

There is an LLVM module for each chapter of the ISA, and the store keeps its object under a digest
of its text: a chapter whose handlers have not changed is not compiled again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import closing

from ..base.log import logger
from ..isa.describe import Isa
from .compiling import LIBRARY, STENCILS, compile_objects
from .extract import stencils_in
from .identity import compiler_digest
from .layout import Layout
from .linking import link
from .program import Program
from .store import CodeStore

__all__ = ["make_library"]

_log = logger("interpreter")


def make_library(isa: Isa, shared: bool, exported: Sequence[str]) -> bytes:
    """The image of an interpreter, in which the ``exported`` symbols can be found. Objects that are
    missing from the store are compiled and added."""
    _log.info("compiling the interpreter for %s, once: it takes a while", isa.name)
    program = Program(Layout.of(isa, shared))
    with closing(CodeStore()) as store:
        stencils = stencils_in(_objects(store, program.stencil_modules(), STENCILS).values())
        objects = _objects(store, program.modules(stencils), LIBRARY)
    return link([*objects.values()], exported)


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
