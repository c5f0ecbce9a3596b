"""A screen that a test draws on, served in a thread, and what viewers do with it."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from bimetal.backends.listening import listen_tcp
from bimetal.backends.vnc.hello import Access
from bimetal.backends.vnc.server import Door, VncServer
from bimetal.base.clock import Countdown
from bimetal.screen.pixels import BGRX
from bimetal.screen.screen import Screen
from bimetal.screen.surface import Surface
from tests.host import lacking, need

__all__ = ["LIMIT", "Desk", "Viewer", "picture", "port_of", "served", "until", "viewer_program"]

LIMIT = 60
"""Seconds after which what should take milliseconds is taken for stuck."""


def picture(width: int, height: int, seed: int = 0) -> bytes:
    """Pixels of a picture with a plain part, one of two colours, a smooth one and a noisy one."""
    ramp, dice = bytes(x & 0xFF for x in range(width + 256)), random.Random(seed)
    two, rows = (b"\x20\x30\x40\0", b"\x20\x50\x10\0"), []
    for y in range(height):
        row = bytearray((seed & 0xFF, 40, 80, 0)) * width
        if 4 * y >= 3 * height:
            row[:] = dice.randbytes(4 * width)
        elif 2 * y >= height:
            row[0::4], row[1::4] = ramp[:width], bytes((y & 0xFF,)) * width
            row[2::4] = ramp[y & 0xFF :][:width]
        elif 4 * y >= height:
            pixels = b"".join(two[(x * y + seed) % 3 == 0] for x in range(3))
            row[:] = (pixels * (width // 3 + 1))[: 4 * width]
        rows.append(row)
    return b"".join(rows)


HEADER = Path("/usr/include/rfb/rfbclient.h")


class Desk:
    """A screen of memory, what came of typing and pointing, and the lock of a machine."""

    def __init__(self, width: int = 333, height: int = 217, *, announces: bool = True):
        self.lock = threading.RLock()
        self.wished: list[tuple[int, int]] = []
        self.screen = Screen(self.surface, announces=announces, resize=self.wish)
        self.done: list[tuple[object, ...]] = []
        self.shows(width, height, picture(width, height))

    def wish(self, width: int, height: int) -> None:
        self.wished.append((width, height))

    def surface(self) -> Surface | None:
        if not self.width:
            return None
        return Surface(self.width, self.height, self.width * 4, BGRX, memoryview(self.memory))

    def shows(self, width: int, height: int, pixels: bytes) -> None:
        """Have another picture on the screen."""
        with self.lock:
            self.width, self.height, self.memory = width, height, bytearray(pixels)
            self.screen.replaced()

    def draws(self, x: int, y: int, width: int, height: int, pixel: bytes) -> None:
        """Draw a rectangle of one colour."""
        with self.lock:
            for row in range(y, y + height):
                at = 4 * (row * self.width + x)
                self.memory[at : at + 4 * width] = pixel * width
            self.screen.drawn(x, y, width, height)

    @property
    def rgb(self) -> bytes:
        """What viewers are to see."""
        made = bytearray(3 * self.width * self.height)
        for colour in range(3):
            made[2 - colour :: 3] = self.memory[colour::4]
        return bytes(made)

    # See Inputs

    def key(self, code: int, down: bool) -> None:
        self.done.append(("key", code, down))

    def point(self, x: int, y: int, width: int, height: int) -> None:
        self.done.append(("point", x, y, width, height))

    def button(self, name: str, down: bool) -> None:
        self.done.append((name, down))

    def turn(self, steps: int) -> None:
        self.done.append(("turn", steps))


@contextmanager
def served(
    desk: Desk,
    access: Access | None = None,
    *,
    web_socket: bool = False,
    origins: Sequence[str] = (),
) -> Iterator[VncServer]:
    """A server for ``desk``, at a port of its own."""
    door = Door(listen_tcp("", 0, 16), web_socket, origins)
    server = VncServer(desk.screen, desk, [door], access or Access(), lambda: desk.lock, "desk")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(LIMIT)
        assert not thread.is_alive()
        server.close()


def port_of(server: VncServer) -> int:
    address = server._doors[0].address
    assert not isinstance(address, str)
    return address[1]


def until(holds: object) -> None:
    """Something happens soon in another thread, which does not say when."""
    assert callable(holds)
    countdown = Countdown(LIMIT)
    while not holds():
        assert countdown.left, "it never happened"


def viewer_program(folder: Path) -> Path:
    """The viewer of LibVNCClient, compiled."""
    need("cc")
    if not HEADER.exists():
        lacking("LibVNCClient is not there to be compiled with (Debian: libvncserver-dev)")
    program = folder / "viewer"
    source = Path(__file__).with_name("viewer.c")
    subprocess.run(["cc", "-O1", "-w", source, "-lvncclient", "-o", program], check=True)
    return program


class Viewer:
    """LibVNCClient, as a process."""

    def __init__(
        self,
        program: Path,
        port: int,
        encodings: str = "zrle",
        password: str = "",
        authority: Path | str = "",
        host: str = "127.0.0.1",
    ):
        words = [str(program), host, str(port), encodings, password, str(authority)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.welcome = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def do(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def shot(self, path: Path) -> tuple[tuple[int, int], bytes]:
        """What the viewer shows once everything was sent again: size and pixels."""
        return self._seen("shot", path)

    def held(self, path: Path) -> tuple[tuple[int, int], bytes]:
        """What the viewer shows."""
        return self._seen("held", path)

    def _seen(self, word: str, path: Path) -> tuple[tuple[int, int], bytes]:
        self.do(word, path)
        heard = self.line()
        while not heard.startswith("shot"):
            assert heard, "the viewer has ended"
            heard = self.line()
        with Image.open(path) as seen:
            return seen.size, seen.tobytes()

    def close(self) -> int:
        """Have it end; its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(LIMIT)
        self.process.stdout.close()
        return code
