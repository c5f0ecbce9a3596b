"""A program with a guest that answers <what it was sent>, to be run in a terminal by tests.

A ``ticking`` one speaks by itself, too.
"""

from __future__ import annotations

import os
import signal
import sys

from bimetal.backends.chars.escape import EscapeAction
from bimetal.backends.chars.stdio import Stdio
from bimetal.backends.reactor import Reactor

TICK_NS = 20_000_000


def main(way_out: str) -> None:
    reactor = Reactor()

    def act(action: EscapeAction) -> None:
        line.write(f"[{action.name}]".encode())
        reactor.stop()

    def receive(data: bytes) -> None:
        if data == b"!":
            leave(way_out)
        line.write(b"<" + data + b">")

    if way_out == "chained":
        signal.signal(signal.SIGTERM, lambda *_: reactor.stop())
    line = Stdio(act)
    line.connect(receive, (lambda: 0) if way_out == "deaf" else None)
    line.attach(reactor)
    line.write(b"ready\n")
    if way_out == "ticking":
        tick(reactor, line)
    reactor.run()
    if way_out != "forgetful":
        line.close()


def tick(reactor: Reactor, line: Stdio) -> None:
    """Speak now, and from time to time."""
    line.write(b"[tick]")
    clock = reactor.clock
    clock.timer(lambda: tick(reactor, line)).arm(clock.now_ns() + TICK_NS)


def leave(way_out: str) -> None:
    if way_out == "exception":
        raise RuntimeError("a bug")
    if way_out == "exit":
        sys.exit(3)
    os.kill(os.getpid(), getattr(signal, way_out))


if __name__ == "__main__":
    main(sys.argv[1])
