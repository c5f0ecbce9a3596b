"""Screens, viewers and keys over QMP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.emulator.ordered import ordered
from tests.control.talker import Talker
from tests.control.test_migrating import hand_over

SCREEN = "-device virtio-gpu-pci,id=video0 -device virtio-keyboard-pci,id=keys"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Talker]:
    """A client of a machine with a screen, a keyboard and viewers who need a password."""
    line = f"{SCREEN} -vnc unix:{tmp_path}/vnc,password=on -qmp unix:{tmp_path}/qmp,server,nowait"
    with ordered(line, viewers=True) as monitor:
        monitor.start()
        with Talker(tmp_path / "qmp") as talker:
            yield talker


@pytest.fixture
def pointing(tmp_path: Path) -> Iterator[Talker]:
    """A client of a machine with a screen, a keyboard and a tablet."""
    line = f"{SCREEN} -device virtio-tablet-pci -qmp unix:{tmp_path}/qmp,server,nowait"
    with ordered(line) as monitor:
        monitor.start()
        with Talker(tmp_path / "qmp") as talker:
            yield talker


def test_where_viewers_find_the_screen(client: Talker, tmp_path: Path) -> None:
    told = client.value("query-vnc")
    assert told["enabled"] is True
    assert (told["family"], told["service"], told["auth"]) == ("unix", f"{tmp_path}/vnc", "vnc")


def test_the_password_of_viewers(client: Talker) -> None:
    client.value("set_password", protocol="vnc", password="secret")
    client.value("expire_password", protocol="vnc", time="never")
    client.value("expire_password", protocol="vnc", time="now")
    assert "1 to 8 bytes" in client.refused("set_password", protocol="vnc", password="x" * 9)[1]
    assert client.refused("set_password", protocol="spice", password="x")[0] == "GenericError"


def test_viewers_without_a_password(talker: Talker) -> None:
    refused = talker.refused("set_password", protocol="vnc", password="x")
    assert refused[0] == "DeviceNotActive"
    assert talker.value("query-vnc") == {"enabled": False}


def test_a_viewer_is_handed_over(client: Talker) -> None:
    client.value("set_password", protocol="vnc", password="secret")
    for skips, offered in ((True, b"\1\1"), (False, b"\1\2")):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert hand_over(client, "graphicsfd", theirs.fileno()) == {"return": {}}
            client.value("add_client", protocol="vnc", fdname="graphicsfd", skipauth=skips)
            heard = ours.makefile("rb")
            assert heard.read(12) == b"RFB 003.008\n"
            ours.sendall(b"RFB 003.008\n")
            assert heard.read(2) == offered  # no password, or the one of VNC
            heard.close()
    assert "no descriptor" in client.refused("add_client", protocol="vnc", fdname="x")[1]
    with open("/dev/null", "rb") as file:
        assert hand_over(client, "null", file.fileno()) == {"return": {}}
        refused = client.refused("add_client", protocol="vnc", fdname="null")
    assert "leads to no viewer" in refused[1]


def test_what_is_not_shown_is_not_written(client: Talker, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    refused = client.refused("screendump", filename=str(path), device="video0", format="png")
    assert "shows nothing" in refused[1]
    assert not path.exists()
    assert client.refused("screendump", filename=str(path), device="x")[0] == "DeviceNotFound"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([{"type": "qcode", "data": "ctrl"}, {"type": "number", "data": 56}], "does not listen"),
        ([], "0 keys at once"),
        ([{"type": "number", "data": 1}] * 17, "17 keys at once"),
        ([{"type": "number", "data": "a"}], "'a' is no number"),
        ([{"type": "qcode", "data": 30}], "30 is no qcode"),
        ([{"type": "number", "data": 0xFF}], "no key has the scan code 255"),
        ([{"type": "qcode", "data": "frob"}], "there is no key 'frob'"),
    ],
)
def test_keys(client: Talker, keys: list[dict[str, object]], why: str) -> None:
    assert why in client.refused("send-key", keys=keys)[1]


KEY = {"type": "qcode", "data": "a"}


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"type": "key", "data": {"down": True, "key": KEY}}, ""),
        ({"type": "key", "data": {"down": True, "key": {"type": "number", "data": 30}}}, ""),
        ({"type": "btn", "data": {"down": True, "button": "left"}}, ""),
        ({"type": "btn", "data": {"down": True, "button": "wheel-up"}}, ""),
        ({"type": "abs", "data": {"axis": "x", "value": 100}}, ""),
        ({"type": "abs", "data": {"axis": "y", "value": 0x8000}}, "is no abs"),
        ({"type": "abs", "data": {"axis": "z", "value": 1}}, "is no abs"),
        ({"type": "rel", "data": {"axis": "x", "value": 1}}, "no mouse"),
        ({"type": "btn", "data": {"down": True, "button": "sixth"}}, "no button 'sixth'"),
        ({"type": "key", "data": {"down": 1, "key": KEY}}, "is no key"),
        ({"type": "key", "data": {"down": True, "key": KEY, "hard": 1}}, "'hard' means nothing"),
        ({"type": "key", "data": {"down": True, "key": {**KEY, "data": "frob"}}}, "no key 'frob'"),
    ],
)
def test_what_people_do(pointing: Talker, event: dict[str, object], why: str) -> None:
    if why:
        assert why in pointing.refused("input-send-event", events=[event])[1]
    else:
        pointing.value("input-send-event", events=[event, event])
    assert "64" in str(pointing.ask("input-send-event", events=[event] * 65)) or why


def test_without_a_tablet(client: Talker) -> None:
    event = {"type": "abs", "data": {"axis": "x", "value": 100}}
    assert "nothing to point with" in client.refused("input-send-event", events=[event])[1]
