"""Files over user networks, ours, QEMU's and passt's: between a Linux guest and the host."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.linux import linux
from bench.programs import SOURCES
from bench.scripts import report as timed_report
from bench.targets import Target

__all__ = ["report"]

SIZE = 32 << 20
"""Bytes of a file."""

PIECE = 1 << 20
DATA = b"x" * PIECE
"""Not zeroes: busybox's wget sends of a file what comes before the first one."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives `SIZE` bytes to who asks, and counts what it gets."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        for _ in range(SIZE // PIECE):
            self.wfile.write(DATA)

    def do_POST(self) -> None:
        left = whole = int(self.headers["Content-Length"])
        while left and (got := len(self.rfile.read1(min(left, PIECE)))):
            left -= got
        told = str(whole - left).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    """A server at the loopback interface, in a thread; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def report(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time files in both directions, beside QEMU's own network (slirp) and beside passt, where it
    is installed; yield the lines of the report."""
    with serving() as port:
        guest = linux(target, f"sh /bench/network.sh {port}", SOURCES / "network.sh")
        yield from timed_report(replace(guest, network="user"), rounds, options)
        if shutil.which("passt"):
            yield "  beside passt:"
            yield from timed_report(replace(guest, network="passt"), rounds, options)
        else:
            yield "  passt is left out: it is not installed"
