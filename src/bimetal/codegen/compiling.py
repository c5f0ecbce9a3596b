"""Compiling LLVM modules to objects, on every processor that this process may use.

Helper processes do the work, because LLVM serves one thread at a time. Each reads modules from its
standard input and writes an object for each to its standard output.

    python -P -m bimetal.codegen.compiling
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

from .frames import BadFrame, Frame, pack, read_frame
from .native import compile_object
from .worker import module_command

__all__ = ["compile_objects", "main"]

WORTH = 4
"""Modules for each helper that is started: starting one takes as long as half a module."""


def compile_objects(texts: Sequence[str]) -> list[bytes]:
    """The objects of LLVM modules, given as text, in the same order.

    What a helper fails to compile is compiled in this process.
    """
    helpers = min(len(os.sched_getaffinity(0)), len(texts) // WORTH)
    if helpers < 2:
        return [compile_object(text) for text in texts]
    with _helpers(helpers) as idle, ThreadPoolExecutor(helpers) as threads:
        # The longest go first, so that none of them is still running when the rest is done.
        longest = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
        done = dict(zip(longest, threads.map(lambda n: _ask(idle, texts[n]), longest), strict=True))
    return [done[number] for number in range(len(texts))]


@contextmanager
def _helpers(count: int) -> Iterator[SimpleQueue[subprocess.Popen[bytes]]]:
    """A queue of helper processes that wait for work; they end with the ``with`` block."""
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    started = []
    try:
        for _ in range(count):
            process = subprocess.Popen(
                **module_command("bimetal.codegen.compiling"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            started.append(process)
            idle.put(process)
        yield idle
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _ask(idle: SimpleQueue[subprocess.Popen[bytes]], text: str) -> bytes:
    process = idle.get()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pack(Frame({}, text.encode())))
        process.stdin.flush()
        answer = read_frame(process.stdout)
    except (OSError, ValueError, BadFrame):
        answer = None
    finally:
        idle.put(process)
    return answer.content if answer else compile_object(text)


def main() -> None:
    """Compile what comes from standard input until it ends."""
    # A signal to the process group is meant for our parent, which ends this process itself.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        sys.stdout.buffer.write(pack(Frame({}, compile_object(frame.content.decode()))))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
