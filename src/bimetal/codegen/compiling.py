"""Compiling LLVM modules to objects, on every processor that this process may use.

Helper processes do the work, because LLVM serves one thread at a time. Each reads modules from its
standard input and writes an object for each to its standard output.

    python -P -m bimetal.codegen.compiling
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from .frames import BadFrame, Frame, pack, read_frame
from .native import compile_object, compile_stencils
from .worker import module_command

__all__ = ["LIBRARY", "STENCILS", "compile_objects", "main"]

WORTH = 4
"""Modules for each helper that is started: starting one takes as long as half a module."""

LIBRARY, STENCILS = "library", "stencils"
"""What is made of a module: an object to be loaded, or one from which code is copied."""

_COMPILERS = {LIBRARY: compile_object, STENCILS: compile_stencils}

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when the thread that started it ends."""


def compile_objects(texts: Sequence[str], kind: str = LIBRARY) -> list[bytes]:
    """The objects of LLVM modules, given as text, in the same order: `LIBRARY` or `STENCILS`.

    What a helper fails to compile is compiled in this process.
    """
    helpers = min(len(os.sched_getaffinity(0)), len(texts) // WORTH)
    if helpers < 2:
        return [_COMPILERS[kind](text) for text in texts]
    with ThreadPoolExecutor(helpers) as threads, _Helpers(helpers) as pool:
        # The longest go first, so that none of them is still running when the rest is done.
        longest = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
        done = dict(
            zip(longest, threads.map(lambda n: pool.ask(texts[n], kind), longest), strict=True)
        )
    return [done[number] for number in range(len(texts))]


class _Helpers:
    """Helper processes, which end with the ``with`` block: at once, if Ctrl-C ends that."""

    def __init__(self, count: int):
        self._count, self._over = count, False
        self._started: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def __enter__(self) -> Self:
        with ExitStack() as on_failure:
            on_failure.callback(self._end)
            for _ in range(self._count):
                process = subprocess.Popen(
                    **module_command("bimetal.codegen.compiling"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                self._started.append(process)
                self._idle.put(process)
            on_failure.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._end()

    def ask(self, text: str, kind: str) -> bytes:
        """The object of a module; of no use once nobody wants it any more."""
        process = self._idle.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pack(Frame({"kind": kind}, text.encode())))
            process.stdin.flush()
            answer = read_frame(process.stdout)
        except (OSError, ValueError, BadFrame):
            answer = None
        finally:
            self._idle.put(process)
        if answer is None:
            return b"" if self._over else _COMPILERS[kind](text)
        return answer.content

    def _end(self) -> None:
        self._over = True
        for process in self._started:
            process.kill()
        for process in self._started:
            process.communicate()


def main() -> None:
    """Compile what comes from standard input until it ends."""
    # A signal to the process group is meant for our parent, which ends this process itself.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # If that one is killed, nobody waits for what takes seconds.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        made = _COMPILERS[frame.fields["kind"]](frame.content.decode())
        sys.stdout.buffer.write(pack(Frame({}, made)))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
