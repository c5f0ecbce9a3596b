"""A person at this terminal talks with the far end of another machine's console: a pseudo-terminal.

Ctrl-] leaves, as with virsh and telnet.
"""

from __future__ import annotations

import os
import select
from contextlib import ExitStack

from bimetal.backends.chars.terminal import RawMode
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["ESCAPE", "relay"]

ESCAPE = 0x1D
INPUT, OUTPUT = 0, 1
PIECE = 4096


def relay(path: str) -> None:
    """Carry what is typed to the terminal at ``path``, and what comes from there to standard
    output, until Ctrl-] is typed, standard input ends, or the machine does. Raises `BimetalError`
    if it cannot be opened."""
    try:
        far = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise BimetalError(
            f"the console {path} cannot be opened: {error.strerror}",
            "see whether the machine still runs: bimetal list",
            ExitCode.UNAVAILABLE,
        ) from error
    with ExitStack() as stack:
        stack.callback(os.close, far)
        if os.isatty(INPUT):
            stack.enter_context(RawMode(INPUT))
        while True:
            ready = select.select([INPUT, far], [], [])[0]
            if far in ready and not _carry(far, OUTPUT):
                return
            if INPUT in ready:
                typed = os.read(INPUT, PIECE)
                before, escape, _ = typed.partition(bytes([ESCAPE]))
                _write(far, before)
                if escape or not typed:
                    return


def _carry(source: int, target: int) -> bool:
    """Carry what is there; False if it is the end."""
    try:
        data = os.read(source, PIECE)
    except OSError:  # what Linux says of a terminal whose other end is gone
        return False
    _write(target, data)
    return bool(data)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
