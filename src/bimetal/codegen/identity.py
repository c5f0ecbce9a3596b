"""Digests of all that native code depends on: stored code is used only where they are the same.

LLVM is not asked, since to load it takes as long as to load all the code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .processor import processor

__all__ = ["PACKAGE", "compiler_digest", "sources_digest"]

PACKAGE = Path(__file__).parent.parent


@cache
def compiler_digest() -> bytes:
    """A digest of what turns text into objects: LLVM by the release of llvmlite, the host's
    processor, and the options that are used here."""
    digest = hashlib.sha256(repr(sorted(processor().items())).encode())
    for path in (_release(), Path(__file__).with_name("native.py")):
        digest.update(path.read_bytes())
    return digest.digest()[:16]


def _release() -> Path:
    """The file of llvmlite that says which release it is."""
    found = find_spec("llvmlite")
    assert found is not None
    return Path(found.origin or "").with_name("_version.py")


def sources_digest(*folders: Path) -> bytes:
    """A digest of all that generated code depends on: the sources in ``folders``, LLVM, the host's
    processor."""
    digest = hashlib.sha256()
    for folder in folders:
        above = len(os.path.join(folder.parent, ""))
        for path in sorted(_sources(str(folder))):
            digest.update(path[above:].encode())
            with open(path, "rb", buffering=0) as file:
                digest.update(file.read())
    digest.update(compiler_digest())
    return digest.digest()[:16]


def _sources(folder: str) -> Iterator[str]:
    """The paths of the sources in a folder, and in those below it: every start waits for this, and
    `pathlib` takes five times as long."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.path
            elif entry.is_dir():
                yield from _sources(entry.path)
