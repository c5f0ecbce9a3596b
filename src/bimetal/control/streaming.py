"""The state of a machine through a descriptor that need not be a whole file: a pipe, or what
follows the head that somebody else has written."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from bimetal.base.errors import BimetalError, ExitCode

if TYPE_CHECKING:
    from bimetal.machine.machine import Machine

__all__ = ["load_from", "save_to"]

PIECE = 1 << 20
PLACE = "/var/tmp"
"""Where a state is while it is put together: on a disk, since memory is what there is much of."""


def save_to(machine: Machine, target: int) -> int:
    """Write the state of ``machine`` to ``target``, which is closed; how many bytes it has. Raises
    `BimetalError`."""
    with open(target, "wb", buffering=0) as file, tempfile.TemporaryDirectory(dir=PLACE) as folder:
        path = os.path.join(folder, "state")
        machine.save(path)
        return _copied(path, file.fileno())


def load_from(machine: Machine, source: int) -> None:
    """Load the state that is next in ``source``, which is closed. Raises `BimetalError`."""
    with open(source, "rb", buffering=0) as file, tempfile.TemporaryDirectory(dir=PLACE) as folder:
        path = os.path.join(folder, "state")
        try:
            with open(path, "wb", buffering=0) as state:
                while piece := file.read(PIECE):
                    state.write(piece)
        except OSError as error:
            raise _failed("read", error) from error
        machine.load(path)


def _copied(path: str, target: int) -> int:
    """Copy a file to a descriptor; how many bytes it has."""
    count = 0
    try:
        with open(path, "rb", buffering=0) as state:
            while piece := state.read(PIECE):
                view = memoryview(piece)
                while view:
                    written = os.write(target, view)
                    count += written
                    view = view[written:]
    except OSError as error:
        raise _failed("written", error) from error
    return count


def _failed(what: str, error: OSError) -> BimetalError:
    return BimetalError(
        f"the state of the machine cannot be {what}: {error.strerror or error}",
        "make room on the disk",
        ExitCode.IO_ERROR,
    )
