"""Consoles and screens through WebSockets: bytes both ways, several who look, and who is let in."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bimetal.web.consoles import BEHIND_LIMIT, Viewer
from bimetal.web.serving import Site, new_token
from tests.control.homes import LIMIT, Homes
from tests.web.conftest import serving

SCREEN = "<graphics type='vnc' port='-1'/><video><model type='ramfb'/></video>"


def dial(site: Site, path: str, *protocols: str, origin: str = "") -> ClientConnection:
    """A WebSocket of a client with the token, if no other protocols are said."""
    url = site.address.replace("http", "ws", 1) + f"api/machines/{path}"
    offered = protocols or ("bimetal", f"token.{site.token}")
    return connect(
        url,
        subprotocols=[*offered],  # type: ignore[list-item]
        origin=origin or None,  # type: ignore[arg-type]
        compression=None,
        open_timeout=LIMIT,
    )


def read(connection: ClientConnection, size: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < size:
        data += bytes(connection.recv(LIMIT))  # type: ignore[arg-type]
    return data


def read_until(connection: ClientConnection, end: bytes) -> bytes:
    """What comes until it ends so."""
    data = b""
    while not data.endswith(end):
        data += read(connection, 1)
    return data


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    """The machines of all these tests."""
    made = Homes(tmp_path_factory.mktemp("homes"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made
        made.close()


@pytest.fixture(scope="module")
def site(homes: Homes) -> Iterator[Site]:
    """Their page."""
    with serving(Site(homes.machines, "127.0.0.1:0", new_token())) as made:
        yield made


@pytest.fixture(scope="module")
def echo(homes: Homes) -> str:
    """A machine that answers what is typed."""
    homes.machines.define(homes.text("echo", homes.echo))
    homes.machines.start("echo")
    return "echo"


def test_two_people_at_a_console(site: Site, echo: str) -> None:
    with dial(site, f"{echo}/console") as one, dial(site, f"{echo}/console") as two:
        assert one.subprotocol == "bimetal"
        one.send(b"hello")
        assert read_until(one, b"hello") == read_until(two, b"hello")
        two.send("\xe9")
        assert read_until(one, "\xe9".encode()) == read_until(two, "\xe9".encode())
        with dial(site, f"{echo}/console") as three:
            assert read_until(three, "hello\xe9".encode()), "what came before"
    with dial(site, f"{echo}/console") as again:
        assert read_until(again, "hello\xe9".encode()), "what came before all left"
        again.send(b"back")
        assert read_until(again, b"back") == b"back"


def test_much_that_is_typed_arrives(site: Site, echo: str) -> None:
    typed = os.urandom(1 << 12)
    with dial(site, f"{echo}/console") as one:
        one.send(typed)
        assert read_until(one, typed)


def test_a_console_ends_with_its_machine(site: Site, homes: Homes) -> None:
    homes.machines.create(homes.text("fly", homes.echo))
    with dial(site, "fly/console") as one:
        one.send(b"a")
        assert read(one, 1) == b"a"
        homes.machines.destroy("fly")
        with pytest.raises(ConnectionClosed) as closed:
            read(one, 1)
    assert closed.value.rcvd is not None
    assert "machine has ended" in closed.value.rcvd.reason


def reason(site: Site, path: str) -> str:
    with dial(site, path) as one, pytest.raises(ConnectionClosed) as closed:
        read(one, 1)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4000
    return closed.value.rcvd.reason


def test_what_cannot_be_seen_is_said(site: Site, homes: Homes, echo: str) -> None:
    homes.machines.define(homes.text("mute", devices="<memballoon model='none'/>"))
    assert "domain is not running" in reason(site, "mute/console")
    homes.machines.start("mute")
    assert "leads to nowhere" in reason(site, "mute/console")
    assert "has no screen" in reason(site, f"{echo}/screen")
    assert "failed to get domain" in reason(site, "whale/screen")


@pytest.mark.parametrize("what", ["console", "screen"])
def test_nobody_without_the_token_or_from_elsewhere(site: Site, echo: str, what: str) -> None:
    for protocols, origin in (
        (("bimetal",), ""),
        (("bimetal", "token.wrong"), ""),
        (("bimetal", f"token.{site.token}"), "https://evil.example"),
        (("bimetal", f"token.{site.token}"), "null"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            dial(site, f"{echo}/{what}", *protocols, origin=origin)
        assert refused.value.response.status_code in (401, 403)
    with dial(site, f"{echo}/console", origin=site.address.rstrip("/")) as ours:
        ours.send(b"ours")
        assert read_until(ours, b"ours")


def test_a_message_that_is_too_long_ends_its_connection(site: Site, echo: str) -> None:
    with dial(site, f"{echo}/console") as one:
        one.send(bytes(1 << 17))
        with pytest.raises(ConnectionClosed):
            read(one, 1 << 18)
    with dial(site, f"{echo}/console") as two:
        two.send(b"still there")
        assert read_until(two, b"still there")


def test_who_does_not_read_is_let_go() -> None:
    viewer = Viewer(b"before")
    assert asyncio.run(viewer.next()) == b"before"
    for _ in range(BEHIND_LIMIT >> 10):
        viewer.tell(bytes(1 << 10))
    assert len(asyncio.run(viewer.next())) == BEHIND_LIMIT
    for _ in range((BEHIND_LIMIT >> 10) + 1):
        viewer.tell(bytes(1 << 10))
    assert "too slowly" in viewer.ended
    viewer.tell(b"more")
    assert asyncio.run(viewer.next()) == b"", "nothing is kept for who is gone"


@pytest.fixture
def shown(homes: Homes) -> str:
    """A machine with a screen."""
    homes.machines.define(homes.text("shown", devices=SCREEN))
    homes.machines.start("shown")
    return "shown"


def test_a_screen(site: Site, homes: Homes, shown: str) -> None:
    """RFB 3.8 (RFC 6143, 7.1 and 7.3) to the size of the screen, for two who look."""
    with dial(site, f"{shown}/screen") as one, dial(site, f"{shown}/screen") as two:
        for viewer in (one, two):
            assert read(viewer, 12) == b"RFB 003.008\n"
            viewer.send(b"RFB 003.008\n")
            assert read(viewer, 2) == b"\x01\x01", "no password: the token is"
            viewer.send(b"\x01")
            assert read(viewer, 4) == bytes(4)
            viewer.send(b"\x01")
            assert read(viewer, 24)[:4] == bytes.fromhex("028001e0"), "640 x 480"
    host, _, display = homes.virsh("vncdisplay", shown).strip().rpartition(":")
    with socket.create_connection((host, 5900 + int(display)), LIMIT) as direct:
        assert direct.recv(12) == b"RFB 003.008\n"
    xml = homes.virsh("dumpxml", shown)
    assert "<graphics" in xml


def test_a_machine_without_viewers_has_no_display(homes: Homes, echo: str) -> None:
    outcome = homes.run("vncdisplay", echo, program="virsh")
    assert (outcome.code, outcome.out) == (1, "")
    assert "Failed to get VNC port" in outcome.err
