"""Private cache folders for our runs, so that what a run finds compiled is known.

A folder as it is after installation holds the compiled interpreter and no region of any guest.
It is made by a run that only interprets, and kept for the next bench of the same sources.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bench.measure import run, store_of
from bench.programs import build
from bench.targets import Target
from bimetal.catalogue import cache_folder
from bimetal.catalogue.folder import scratch_folder

__all__ = ["Cache", "private_caches"]


class Cache:
    """A folder to be given to runs as ``XDG_CACHE_HOME``."""

    def __init__(self, installed: Path, path: Path):
        self._installed, self.path = installed, path
        self.reset()

    def reset(self) -> None:
        """Forget what runs have left: as after installation."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self._installed, self.path)


@contextmanager
def private_caches(target: Target, *names: str) -> Iterator[list[Cache]]:
    """Caches as after installation, one for each name; they are gone at the end."""
    source = installed_cache(target)
    with scratch_folder(source.parent) as scratch:
        # A copy, as another version of the sources may take the place of the folder meanwhile.
        installed = scratch / "installed"
        shutil.copytree(source, installed)
        yield [Cache(installed, scratch / name) for name in names]


def installed_cache(target: Target) -> Path:
    """The folder that caches begin as. A run also finds out whether the interpreter is current."""
    path = cache_folder() / "bench" / "installed" / target.name
    interpret(target, path)
    store = store_of(path)
    keys = store.keys()
    store.close()
    if sum(key.startswith("interpreter ") for key in keys) > 1:  # of other versions too
        shutil.rmtree(path)
        interpret(target, path)
    return path


def interpret(target: Target, cache: Path) -> None:
    """Have the interpreter compiled into a cache if it is not there."""
    program = build("stream", target.compiler, cache_folder() / "bench")
    result = run(target.bare(program, ["--accel", "interp"]), cache=cache)
    if result.code != 0:
        raise click.ClickException(f"the interpreter does not run:\n{result.output[-2000:]}")
