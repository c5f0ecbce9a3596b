"""An emulator as a program: it reads its command line, and does what that says, to the end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

from bimetal.base.collecting import collect_seldom
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.remedies import remedy_elsewhere
from bimetal.base.standard_error import lose_what_it_does_not_take
from bimetal.control.emulator.daemon import TERMINATE, Daemon
from bimetal.control.emulator.lookups import AskedOnly
from bimetal.control.emulator.options import OPTIONS, read_command_line
from bimetal.control.emulator.order import Order
from bimetal.control.emulator.targets import target_named
from bimetal.control.monitor import Monitor

__all__ = ["main"]

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""They are noted from the first moment at which there is something to give back."""


def main(program: str, arguments: Sequence[str], cache: str = "") -> int:
    """Be the emulator called ``program``; the exit code of the process. If the caches in the folder
    ``cache`` are this user's, they are used: libvirt gives each run of a machine a home of its own,
    in which there is no code that was compiled before."""
    lose_what_it_does_not_take()
    collect_seldom()
    if cache and os.access(cache, os.W_OK) and os.stat(cache).st_uid == os.geteuid():
        os.environ["XDG_CACHE_HOME"] = cache
    try:
        target = target_named(program)
        order = read_command_line(target, arguments)
        with Daemon(wanted=order.daemon) as daemon:
            news = SimpleQueue[str]()
            for number in ENDING:
                signal.signal(number, lambda *_: news.put(TERMINATE))
            with _PidFile(order.pid_file):
                return _carry_out(
                    order, daemon, news, partial(read_command_line, target, arguments)
                )
    except AskedOnly as asked:
        try:
            print(asked, flush=True)
        except BrokenPipeError:  # whoever asked has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except BimetalError as error:
        name, told = os.path.basename(program), remedy_elsewhere(error.remedy, OPTIONS)
        remedy = f"\n{' ' * (len(name) + 2)}{told}" if told else ""
        print(f"{name}: {error.cause}{remedy}", file=sys.stderr, flush=True)
        return ExitCode.FAILURE


def _carry_out(
    order: Order, daemon: Daemon, news: SimpleQueue[str], again: Callable[[], Order]
) -> int:
    """Do what was ordered, to the end; the exit code. Signals are among the ``news``."""
    if order.nothing:
        return answer_only(order, daemon, news)
    if order.sandbox is not None:
        late("bimetal.control.emulator.sandbox:confine")(order)
    return int(late("bimetal.control.emulator.machine:run")(order, daemon, news, again))


def answer_only(order: Order, daemon: Daemon, news: SimpleQueue[str]) -> int:
    """Tell clients what there is, until a signal ends it, or one of them."""
    places = [each.place for each in order.monitors if not each.people]
    monitor = Monitor(
        None, places, name=order.name, uuid=order.uuid or UUID(int=0), target=order.target
    )
    monitor.vm.on_event.add(lambda event: news.put(TERMINATE))
    with monitor:
        daemon.ready()
        news.get()
    return 0


class _PidFile:
    """The file in which the number of the process stands, if one is wanted. A context manager:
    removes it in the end."""

    def __init__(self, path: str):
        self._path = Path(path) if path else None

    def __enter__(self) -> None:
        if self._path is None:
            return
        try:
            self._path.write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise BimetalError(
                f"the file {self._path} for the number of the process cannot be written: "
                f"{error.strerror}",
                "name one in a folder that you may write to",
                ExitCode.IO_ERROR,
            ) from error

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
