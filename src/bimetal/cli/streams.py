"""Standard input, output and error, whatever they are: closed, full, or a pipe without a reader.

Whoever prints need not think of it. Closed streams become /dev/null, so that no file that is opened
later gets their number and, with it, what was meant for a person. What standard error does not
take is lost. What standard output does not take raises `OutputLost`, which ends a command whose
product is its output; it is no OSError, so that nobody takes it for a failure of something else.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

from bimetal import ExitCode
from bimetal.cli.status import STATUS

__all__ = ["OutputLost", "finish", "give_up", "open_streams"]

OUTPUT, ERROR = 1, 2


class OutputLost(Exception):
    """Standard output takes no more; ``reason`` is the host's, as an errno."""

    def __init__(self, reason: int):
        super().__init__(reason)
        self.reason = reason


class _Output(io.FileIO):
    """Standard output."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputLost(error.errno or errno.EIO) from error


class _Error(io.FileIO):
    """Standard error, for which errors are ignored: there is nowhere else to report them."""

    def write(self, data: Any, /) -> int:
        STATUS.erase()
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def open_streams() -> None:
    """Make the process's streams what this file says; what a test put in their place stays."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= ERROR:
        os.set_inheritable(spare, True)
    os.close(spare)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(OUTPUT, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Error(ERROR, "w", closefd=False), sys.stderr)


def finish(code: int) -> int:
    """Send what waits in standard output, and give the exit code of a process that ends with
    ``code``, unless that is what fails."""
    try:
        sys.stdout.flush()
    except OutputLost as lost:
        return code or give_up(lost)
    return code


def give_up(lost: OutputLost) -> int:
    """Say why output is lost, if anybody wants to know; the exit code. Later output is lost too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, OUTPUT)
    os.close(nothing)
    if lost.reason == errno.EPIPE:  # whoever read it has seen enough
        return ExitCode.BROKEN_PIPE
    why = os.strerror(lost.reason)
    print(f"bimetal: standard output cannot be written: {why}", file=sys.stderr)
    return ExitCode.IO_ERROR


def _text(raw: io.FileIO, like: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=like.encoding if like else "utf-8",
        errors=like.errors if like else "backslashreplace",
        line_buffering=raw.fileno() == ERROR or raw.isatty(),
    )
