"""``bimetal fetch`` that is broken off: soon, in order, and to be taken up again."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import ExitCode
from tests.cli.test_ending import ENVIRONMENT, LIMIT
from tests.host import programs


class Mirror(http.server.ThreadingHTTPServer):
    """A mirror that begins to answer and has no end, or, later, one that has nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked, self.left, self.empty = (threading.Event() for _ in range(3))


class Answer(http.server.BaseHTTPRequestHandler):
    """One answer."""

    server: Mirror

    def do_GET(self) -> None:
        if self.server.empty.is_set():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 30))
        self.end_headers()
        self.server.asked.set()
        try:
            while not self.server.left.wait(0.01):
                self.wfile.write(b"x")
        except OSError:
            self.server.left.set()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants to know."""


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.left.set()
    server.shutdown()
    thread.join()
    server.server_close()


@programs("apt-get")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_download(mirror: Mirror, tmp_path: Path, name: str) -> None:
    place = {
        "XDG_CACHE_HOME": str(tmp_path),
        "BIMETAL_MIRROR": f"http://127.0.0.1:{mirror.server_port}/debian",
        "no_proxy": "127.0.0.1",
    }

    def fetch() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bimetal", "fetch", "debian-riscv64"],
            env={**ENVIRONMENT, **place},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with fetch() as process:
        assert mirror.asked.wait(LIMIT), process.communicate()
        process.send_signal(signal.Signals[name])
        out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.Signals[name]
    assert (out, len(err.splitlines())) == ("", 1)
    assert mirror.left.wait(LIMIT), "apt's processes go on"
    assert not list(tmp_path.rglob(".making-*"))
    mirror.empty.set()
    with fetch() as again:
        out, err = again.communicate(timeout=LIMIT)
    assert again.returncode == ExitCode.UNAVAILABLE
    assert "could not be fetched" in err
    assert os.listdir(tmp_path) == ["bimetal"]
