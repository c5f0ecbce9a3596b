"""Digests of all that native code depends on: stored code is used only where they are the same.

LLVM is not asked, since to load it takes as long as to load all the code.

Sources may change while machines run: by an upgrade, or because somebody works on them. What has
been imported does not change with them, and what is imported later would not fit it. So processes
that belong together compare digests, and one that imports by and by looks whether anything changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..base.errors import BimetalError
from ..isa.describe import Isa
from ..isa.names import INSTRUCTION_SETS
from .processor import processor

__all__ = ["OTHER_ENGINE", "compiler_digest", "engine_digest", "is_engine"]

PACKAGE = Path(__file__).parent.parent
FOLDERS = [PACKAGE / name for name in ("ir", "isa", "codegen")]

OTHER_ENGINE = 3
"""The exit code of a process that has another engine than the one that has started it."""


def _stamps() -> list[tuple[int, int, int]]:
    """What shows that a source has been written or replaced: numbers, sizes and times of files. The
    time of status is none of it: it changes by a link to a file from elsewhere, too."""
    stats = (os.stat(path) for folder in FOLDERS for path in sorted(_sources(str(folder))))
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]


@cache
def engine_digest(isa: Isa, shared: bool) -> bytes:
    """A digest of all that an ISA's native code depends on besides the guest: part of every key.

    Raises `BimetalError` if sources have changed since this process began to import them.
    """
    own = find_spec(INSTRUCTION_SETS[isa.name])
    described = Path(own.origin or "").parent if own is not None else PACKAGE
    outside = [] if described.is_relative_to(PACKAGE) else [described]
    with suppress(FileNotFoundError):
        sources = _digest_of([*FOLDERS, *outside])
        if _stamps() == _BEGUN:
            return sources + f"{isa.name} {shared:d}".encode()
    raise BimetalError(
        "Bimetal's files have changed since this program began to use them", "start it again"
    )


def is_engine(isa: Isa, shared: bool, digest: str) -> bool:
    """Whether this process has the engine with a ``digest``, in hexadecimal: that of the process
    that has started it, which may have begun with other sources. All that is described is imported
    for that, so nothing comes from later ones."""
    isa.complete()
    with suppress(BimetalError):
        return engine_digest(isa, shared).hex() == digest
    return False


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


def _digest_of(folders: Sequence[Path]) -> bytes:
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
    `pathlib` takes five times as long. What has a name with a dot before it is no module."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.name.endswith(".py"):
                yield entry.path
            elif entry.is_dir():
                yield from _sources(entry.path)


_BEGUN = _stamps()
