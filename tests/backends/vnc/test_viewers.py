"""A viewer of other people (LibVNCClient) sees what is on the screen, to the pixel."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bimetal.backends.vnc.channel import tls_context
from bimetal.backends.vnc.hello import Access
from bimetal.backends.vnc.password import Password
from bimetal.screen.keys import KEYS
from bimetal.screen.screen import Cursor
from tests.backends.vnc.served import (
    Desk,
    Viewer,
    picture,
    port_of,
    served,
    until,
    viewer_program,
)
from tests.host import programs

pytestmark = programs("cc")

Look = Callable[..., Viewer]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return viewer_program(tmp_path_factory.mktemp("viewer"))


@pytest.fixture
def look(program: Path) -> Iterator[Look]:
    """A viewer, which is gone after the test."""
    viewers: list[Viewer] = []

    def make(*words: object, **named: object) -> Viewer:
        viewers.append(Viewer(program, *words, **named))  # type: ignore[arg-type]
        return viewers[-1]

    yield make
    for viewer in viewers:
        viewer.close()


@pytest.mark.parametrize("size", [(333, 217), (64, 64), (1, 1), (2100, 70)])
@pytest.mark.parametrize("encoding", ["raw", "zrle", "tight"])
def test_what_is_on_the_screen_is_seen(
    look: Look, tmp_path: Path, encoding: str, size: tuple[int, int]
) -> None:
    desk = Desk(*size)
    with served(desk) as server:
        viewer = look(port_of(server), encoding)
        assert viewer.welcome == f"welcome {size[0]} {size[1]} desk"
        assert viewer.shot(tmp_path / "seen") == (size, desk.rgb)
        assert viewer.shot(tmp_path / "seen") == (size, desk.rgb), "its streams go on"
        viewer.close()
        until(lambda: not server.clients)


@pytest.mark.parametrize("encoding", ["zrle", "tight"])
def test_text_is_seen(look: Look, tmp_path: Path, encoding: str) -> None:
    """Pictures of two colours, of which one channel or all tell them apart, or of one pixel."""
    desk = Desk(192, 128)
    with served(desk) as server:
        viewer = look(port_of(server), encoding)
        for colours in ((b"\0\0\0\0", b"\xaa\xaa\xaa\0"), (b"\1\2\3\0", b"\1\2\4\0")):
            for every in (2, 3, 7, 192 * 128):
                pixels = (colours[1] + colours[0] * (every - 1)) * (192 * 128 // every + 1)
                desk.shows(192, 128, pixels[: 192 * 128 * 4])
                until(lambda: viewer.shot(tmp_path / "seen")[1] == desk.rgb)


@pytest.mark.parametrize("announces", [True, False])
def test_what_is_drawn_later_is_seen(look: Look, tmp_path: Path, announces: bool) -> None:
    desk = Desk(announces=announces)
    with served(desk) as server:
        viewer = look(port_of(server))
        assert viewer.shot(tmp_path / "seen")[1] == desk.rgb
        for n in range(5):
            desk.draws(20 * n, 30 * n, 70, 50, bytes((n * 50, 255 - n, n, 0)))
            until(lambda: viewer.shot(tmp_path / "seen")[1] == desk.rgb)


def test_the_screen_may_get_another_size(look: Look, tmp_path: Path) -> None:
    desk = Desk()
    with served(desk) as server:
        viewer = look(port_of(server))
        for width, height in ((500, 100), (40, 300), (640, 480)):
            desk.shows(width, height, picture(width, height, width))
            expected = (width, height), desk.rgb
            until(lambda expected=expected: viewer.shot(tmp_path / "seen") == expected)
        desk.width = 0
        desk.screen.replaced()
        dark = (640, 480), bytes(640 * 480 * 3)
        until(lambda: viewer.shot(tmp_path / "seen") == dark)


def test_several_viewers_see_the_same(look: Look, tmp_path: Path) -> None:
    desk = Desk()
    with served(desk) as server:
        viewers = [look(port_of(server), each) for each in ("raw", "zrle", "tight", "zrle")]
        desk.draws(5, 5, 9, 9, b"\1\2\3\0")
        for viewer in viewers:
            until(lambda viewer=viewer: viewer.shot(tmp_path / "seen")[1] == desk.rgb)


def test_keys_and_pointer(look: Look) -> None:
    desk = Desk()
    with served(desk) as server:
        viewer = look(port_of(server))
        viewer.do("key", 0x41, 1)
        viewer.do("key", 0x41, 0)
        viewer.do("pointer", 10, 20, 0)
        viewer.do("pointer", 11, 21, 1)
        viewer.do("pointer", 11, 21, 0)
        viewer.do("pointer", 11, 21, 16)
        until(lambda: ("turn", -1) in desk.done)
        assert [each for each in desk.done if each[0] != "point"] == [
            *(("key", KEYS["a"], True), ("key", KEYS["a"], False)),
            *(("left", True), ("left", False), ("turn", -1)),
        ]
        assert ("point", 11, 21, 333, 217) in desk.done
        assert desk.done.index(("point", 11, 21, 333, 217)) < desk.done.index(("left", True))


def test_keys_by_scan_code_are_those_that_were_hit(look: Look, tmp_path: Path) -> None:
    desk = Desk()
    with served(desk) as server:
        viewer = look(port_of(server))
        viewer.shot(tmp_path / "seen")
        viewer.do("x", ord("q"), 0x1E, 1)  # the key beside Caps Lock, on a French keyboard
        assert viewer.line() == "extended -1"
        viewer.do("x", 0xFFEA, 0xB8, 1)
        assert viewer.line() == "extended -1"
        until(lambda: len(desk.done) == 2)
        assert desk.done == [("key", KEYS["a"], True), ("key", KEYS["rightalt"], True)]
        viewer.close()
        until(lambda: len(desk.done) == 4)
        assert set(desk.done[2:]) == {("key", KEYS["a"], False), ("key", KEYS["rightalt"], False)}


def test_a_viewer_wishes_another_size(look: Look, tmp_path: Path) -> None:
    desk = Desk()
    with served(desk) as server:
        viewer = look(port_of(server))
        viewer.shot(tmp_path / "seen")
        viewer.do("size", 800, 600)
        assert viewer.line() == "size -1"
        until(lambda: desk.wished == [(800, 600)])
        assert viewer.shot(tmp_path / "seen") == ((333, 217), desk.rgb), "the guest decides"


def test_the_cursor_of_the_guest(look: Look, tmp_path: Path) -> None:
    desk = Desk()
    pixels = bytes(range(256)) * (20 * 10 * 4 // 256 + 1)
    cursor = Cursor(20, 10, 3, 4, pixels[: 20 * 10 * 4])
    with served(desk) as server:
        viewer = look(port_of(server))
        viewer.shot(tmp_path / "seen")
        with desk.lock:
            desk.screen.point(cursor)
        total = 0
        # The viewer has its pixels in another order: red, green, blue.
        data = bytearray(cursor.pixels)
        data[0::4], data[2::4], data[3::4] = data[2::4], data[0::4], bytes(200)
        for byte in (*data, *(int(value >= 128) for value in cursor.pixels[3::4])):
            total = total * 31 + byte & 0xFFFF_FFFF
        assert viewer.line() == f"cursor 3 4 20 10 {total}"


@pytest.mark.parametrize(("said", "welcome"), [("secret", True), ("secreT", False), ("", False)])
def test_who_knows_the_password_is_let_in(look: Look, said: str, welcome: bool) -> None:
    with served(Desk(), Access(Password("secret"))) as server:
        viewer = look(port_of(server), "zrle", said)
        assert viewer.welcome.startswith("welcome") == welcome


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this host that vouches for itself, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.mark.parametrize("password", ["", "secret"])
def test_through_tls(look: Look, tmp_path: Path, password: str) -> None:
    desk = Desk()
    paths = certificate(tmp_path)
    context = tls_context(str(paths[0]), str(paths[1]))
    access = Access(Password(password) if password else None, context)
    with served(desk, access) as server:
        viewer = look(port_of(server), "tight", password, paths[0])
        assert viewer.welcome == "welcome 333 217 desk"
        assert viewer.shot(tmp_path / "seen") == ((333, 217), desk.rgb)
        if password:
            refused = look(port_of(server), "tight", "wrong", paths[0])
            assert refused.welcome == "refused"
