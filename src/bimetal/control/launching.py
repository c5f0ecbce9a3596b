"""A process for a machine: started by a client, and on its own from then on."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Ready", "launch"]

PROGRAM = ("-P", "-m", "bimetal.control.process")
READY = 3
"""The descriptor by which the new process tells that the machine runs, or why it does not."""

LOG_LIMIT = 1 << 20
"""Bytes of a log, after which the next run begins a new one."""

MESSAGE_LIMIT = 1 << 16
TAIL = 5
SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE)


def launch(definition: str, log: Path, words: Sequence[str]) -> None:
    """Start a process that runs the machine of a definition, and return when it runs. The process
    prints into the file ``log``, and ``words`` say more (see `process`). Raises `BimetalError`."""
    try:
        _launch(definition, log, words)
    except OSError as error:
        raise BimetalError(
            f"no process can be started for the machine: {error.strerror}",
            "the host has too little memory, or allows too few processes or open files",
            ExitCode.IO_ERROR,
        ) from error


def _launch(definition: str, log: Path, words: Sequence[str]) -> None:
    ears, mouth = os.pipe2(os.O_CLOEXEC)
    text = os.memfd_create("bimetal-definition", os.MFD_CLOEXEC)
    try:
        os.write(text, definition.encode(errors="surrogateescape"))
        os.lseek(text, 0, os.SEEK_SET)
        output = _open_log(log)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *PROGRAM, *words],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, mouth, READY + output + text),
                    (os.POSIX_SPAWN_DUP2, text, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                    (os.POSIX_SPAWN_DUP2, READY + output + text, READY),
                    (os.POSIX_SPAWN_CLOSE, READY + output + text),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=SIGNALS,
            )
        finally:
            os.close(output)
        os.close(mouth)
        mouth = -1
        os.waitpid(pid, 0)  # it goes on as another one, which is nobody's child
        _wait(ears, log)
    finally:
        for fd in (ears, text, mouth):
            if fd >= 0:
                os.close(fd)


def _open_log(path: Path) -> int:
    try:
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_name(f"{path.name}.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BimetalError(
            f"the log {path} cannot be written: {error.strerror}",
            "make room on the disk, or correct the permissions of its folder",
            ExitCode.IO_ERROR,
        ) from error


def _wait(ears: int, log: Path) -> None:
    """Return when the process says that the machine runs. Raises the error that it tells."""
    with open(ears, "rb", closefd=False) as told:
        message = told.readline(MESSAGE_LIMIT)
    with suppress(ValueError):
        error = json.loads(message)
        if error is None:
            return
        raise BimetalError(*error)
    lines: list[str] = []
    with suppress(OSError):
        lines = log.read_text(errors="replace").splitlines()[-TAIL:]
    raise BimetalError(
        "the machine's process has ended before the machine ran", "\n".join(lines or [str(log)])
    )


class Ready:
    """The other end: what the new process has to tell who started it, once."""

    def __init__(self) -> None:
        self._told = False
        os.set_inheritable(READY, False)

    def tell(self, error: BimetalError | None = None) -> None:
        """The machine runs; or it does not, because of an error. Nobody may listen any more."""
        if self._told:
            return
        self._told = True
        what = None if error is None else [error.cause, error.remedy, int(error.exit_code)]
        with suppress(OSError):
            os.write(READY, json.dumps(what).encode() + b"\n")
            os.close(READY)
