"""A screen full of moving text for a page: pictures a second, and the processor time they take.

    python -m bench.screen [--seconds N] [--size 1024x768] [--rate N]

A guest draws so many pictures a second; a viewer in another process speaks as noVNC does through a
WebSocket, on the same host, and asks for the next picture as soon as it has one. The processor time
is that of the server's thread, which copies, compares, packs and sends; neither the guest's nor the
viewer's is in it.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from bimetal.backends.listening import listen_tcp
from bimetal.backends.vnc.hello import Access
from bimetal.backends.vnc.server import Door, VncServer
from bimetal.screen.pixels import BGRX
from bimetal.screen.screen import Screen
from bimetal.screen.surface import Surface

WORD = "--look"
NOVNC = (1, 7, -260, 16, 5, 2, 0, -26, -254, -223, -224, -308, -309, -312, -313, -258, -307)
"""What noVNC 1.5 names: CopyRect, Tight, TightPNG, ZRLE, Hextile, RRE, Raw and what it can do."""
LINE, LETTER = 16, 8
LETTERS = 64


def main() -> None:
    """Measure, and print a line for each kind of movement."""
    if sys.argv[1:2] == [WORD]:
        print(*look(int(sys.argv[2]), float(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--size", default="1024x768")
    parser.add_argument("--rate", type=float, default=30)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    for name, scene in SCENES.items():
        frames, data, share = measured(scene(width, height), (width, height), given)
        print(f"{name:24} {frames:6.1f} pictures/s {data / 1e6:6.2f} MB/s {share:6.1%} of a CPU")


def measured(
    pictures: Iterator[bytes], size: tuple[int, int], given: argparse.Namespace
) -> tuple[float, float, float]:
    """Pictures and bytes a second, and the share of a processor."""
    memory, lock = bytearray(next(pictures)), threading.RLock()
    surface = Surface(*size, 4 * size[0], BGRX, memoryview(memory))
    screen = Screen(lambda: surface)
    door = Door(listen_tcp("", 0, 16), web_socket=True)
    server = VncServer(screen, Nobody(), [door], Access(), lambda: lock, "bench")
    thread = threading.Thread(target=server.run)
    thread.start()
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    port = str(door.address[1])
    command = [sys.executable, "-m", "bench.screen", WORD, port, str(given.seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer:
        while not server.clients:
            time.sleep(0.01)
        began, used = time.monotonic(), time.clock_gettime(clock)
        while viewer.poll() is None:
            with lock:
                memory[:] = next(pictures)
                screen.drawn(0, 0, *size)
            time.sleep(max(0, 1 / given.rate - (time.monotonic() - began) % (1 / given.rate)))
        taken, used = time.monotonic() - began, time.clock_gettime(clock) - used
        assert viewer.stdout is not None
        frames, data = map(int, viewer.stdout.read().split())
    server.stop()
    thread.join()
    server.close()
    return frames / given.seconds, data / given.seconds, used / taken


def look(port: int, seconds: float) -> tuple[int, int]:
    """Be a viewer for a while: how many updates came, and bytes."""
    protocols = [Subprotocol("binary")]
    with connect(f"ws://127.0.0.1:{port}/", subprotocols=protocols, max_size=None) as page:
        heard = Stream(page.recv)
        heard.read(12)
        page.send(b"RFB 003.008\n")
        heard.read(2)
        page.send(b"\1")
        heard.read(4)
        page.send(b"\1")
        width, height = struct.unpack(">HH16x", heard.read(20))
        heard.read(*struct.unpack(">I", heard.read(4)))
        page.send(struct.pack(f">BxH{len(NOVNC)}i", 2, len(NOVNC), *NOVNC))
        page.send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        updates, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            update(heard)
            updates += 1
            page.send(struct.pack(">BBHHHH", 3, 1, 0, 0, width, height))
        return updates, heard.total


class Stream:
    """Bytes out of messages."""

    def __init__(self, receive: Callable[[], str | bytes]):
        self._receive, self._held, self.total = receive, bytearray(), 0

    def read(self, length: int) -> bytes:
        while len(self._held) < length:
            message = self._receive()
            assert isinstance(message, bytes)
            self._held += message
            self.total += len(message)
        found = bytes(self._held[:length])
        del self._held[:length]
        return found


def update(heard: Stream) -> None:
    """Take an update, without unpacking what is in it."""
    _, count = struct.unpack(">BxH", heard.read(4))
    for _ in range(count):
        _, _, width, height, encoding = struct.unpack(">HHHHi", heard.read(12))
        match encoding:
            case 1:
                heard.read(4)
            case 7:
                tight(heard, width, height)
            case -308:
                heard.read(4 + 16)
            case -258 | -223:
                pass
            case _:
                raise AssertionError(f"encoding {encoding}")


def tight(heard: Stream, width: int, height: int) -> None:
    """Take a rectangle of Tight."""
    (control,) = heard.read(1)
    if control >> 4 == 8:
        heard.read(3)
        return
    size = 3 * width * height
    if control >> 4 & 4 and heard.read(1) == b"\1":
        colours = heard.read(1)[0] + 1
        heard.read(3 * colours)
        size = -(-width // 8) * height if colours == 2 else width * height
    if size < 12:
        heard.read(size)
        return
    length = shift = 0
    while True:
        (byte,) = heard.read(1)
        length |= (byte & 0x7F if shift < 14 else byte) << shift
        shift += 7
        if shift > 14 or not byte & 0x80:
            break
    heard.read(length)


class Nobody:
    """Types and points nowhere."""

    def key(self, code: int, down: bool) -> None:
        pass

    def point(self, x: int, y: int, width: int, height: int) -> None:
        pass

    def button(self, name: str, down: bool) -> None:
        pass

    def turn(self, steps: int) -> None:
        pass


def lines(width: int, seed: int) -> Iterator[bytes]:
    """Lines of text, as a terminal draws them: light letters on black."""
    dice = random.Random(seed)
    letters = [[dice.getrandbits(LETTER) for _ in range(LINE)] for _ in range(LETTERS)]
    light, dark = b"\xc0\xc0\xc0\0", bytes(4)
    pieces = {
        bits: b"".join(light if bits >> n & 1 else dark for n in range(LETTER))
        for bits in range(256)
    }
    while True:
        line = [dice.choice(letters) for _ in range(width // LETTER)]
        yield b"".join(b"".join(pieces[letter[row]] for letter in line) for row in range(LINE))


def scrolling(width: int, height: int) -> Iterator[bytes]:
    """A line more at the bottom of each picture."""
    source = lines(width, 1)
    known = [next(source) for _ in range(500)]
    held = [known[n] for n in range(height // LINE)]
    number = len(held)
    while True:
        yield b"".join(held)
        held = [*held[1:], known[number % len(known)]]
        number += 1


def other_pages(width: int, height: int) -> Iterator[bytes]:
    """Another text in each picture."""
    source, count = lines(width, 2), height // LINE
    pages = [b"".join(next(source) for _ in range(count)) for _ in range(20)]
    while True:
        yield from pages


SCENES: dict[str, Callable[[int, int], Iterator[bytes]]] = {
    "a text that scrolls": scrolling,
    "another text each time": other_pages,
}


if __name__ == "__main__":
    main()
