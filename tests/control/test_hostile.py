"""Clients that mean harm, or are broken: the server answers, or hangs up, and goes on."""

from __future__ import annotations

import json
import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bimetal.backends.clients import CLIENTS_LIMIT
from bimetal.base.clock import Countdown
from bimetal.control.events import Event
from bimetal.control.qmp.framing import MESSAGE_LIMIT
from bimetal.control.qmp.session import BEHIND_LIMIT
from tests.control.conftest import Made
from tests.control.talker import LIMIT, Talker


def lives(place: Path) -> bool:
    with Talker(place) as client:
        return bool(client.value("query-status")["running"])


def test_a_line_of_a_million_characters(talker: Talker, place: Path) -> None:
    talker.send(json.dumps({"execute": "x" * 1_000_000}))
    answer = talker.answer()["error"]
    assert answer["class"] == "CommandNotFound"
    assert len(answer["desc"]) < 300
    talker.send(json.dumps({"x" * 1_000_000: 1}))
    assert len(talker.answer()["error"]["desc"]) < 300
    assert talker.value("query-status")["running"]


def test_a_message_that_never_ends(talker: Talker, place: Path) -> None:
    talker.send(b'{"a":"')
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        talker.send(b"x" * 100 * MESSAGE_LIMIT)
    assert lives(place)


def test_deep_nesting(talker: Talker) -> None:
    talker.send(b'{"execute":' + b"[" * 100_000 + b"\n")
    assert "nests deeper" in talker.answer()["error"]["desc"]
    assert talker.value("query-status")["running"]


def test_a_client_that_never_reads_is_waited_for_and_not_worked_for(
    monitored: Made, place: Path
) -> None:
    monitor = monitored()
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(LIMIT)
        line.connect(str(place))
        line.sendall(b'{"execute":"qmp_capabilities"}')
        line.setblocking(False)
        flood, sent = b'{"execute":"query-qmp-schema"}' * 1000, 0
        for _ in range(200):
            try:
                sent += line.send(flood)
            except BlockingIOError:
                assert lives(place)  # which takes turns of the server
        assert sent < 4 << 20
        behind = [client.waiting for client in monitor._sessions]
        assert max(behind) < BEHIND_LIMIT + (1 << 20)
    assert lives(place)


def test_a_client_that_does_not_read_events_is_given_up(monitored: Made, place: Path) -> None:
    monitor = monitored()
    with Talker(place):
        countdown = Countdown(LIMIT)
        while monitor._sessions and countdown.left:
            monitor._happened(Event("STOP"))
        assert not monitor._sessions
    assert lives(place)


def test_clients_that_leave_in_the_middle(monitored: Made, place: Path) -> None:
    monitor = monitored()
    chance = random.Random(2)
    whole = b'{"execute":"qmp_capabilities"}{"execute":"query-block"}{"execute":"query-name"}'
    for _ in range(100):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(place))
            line.sendall(whole[: chance.randrange(len(whole))])
            if chance.random() < 0.5:
                line.settimeout(LIMIT)
                line.recv(chance.randrange(1, 100))
    assert lives(place)
    assert monitor.vm.machine.running


def test_random_bytes(monitored: Made, place: Path) -> None:
    monitored()
    chance = random.Random(3)
    for _ in range(50):
        with Talker(place) as client:
            client.send(chance.randbytes(chance.randrange(1, 2000)).replace(b"\n", b"") + b"\n")
    assert lives(place)


def test_more_clients_than_there_is_room_for(monitored: Made, place: Path) -> None:
    monitored()
    inside = [Talker(place) for _ in range(32)]
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(LIMIT)
        waiting.connect(str(place))
        inside.pop().close()
        assert waiting.recv(1000).startswith(b'{"QMP"')
    for client in inside:
        client.close()
    assert lives(place)


@pytest.mark.parametrize("said", [b"", b'{"execute":"qmp_capabilities"}'])
def test_clients_that_never_read_keep_nobody_out(said: bytes, monitored: Made, place: Path) -> None:
    """More of them than may be inside and in the kernel's queue together."""
    monitor = monitored()
    with Talker(place) as honest, ExitStack() as stack:
        for _ in range(60):
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.connect(str(place))
            with suppress(OSError):  # it may be out again already
                line.sendall(said)
        assert lives(place)
        assert honest.value("query-status")["running"]
        assert len(monitor._sessions) <= CLIENTS_LIMIT
