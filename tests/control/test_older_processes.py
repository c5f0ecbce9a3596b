"""Machines whose processes are from before an upgrade of Bimetal, and do not know what newer
clients ask for."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bimetal.base.errors import ExitCode
from bimetal.control.conversation import Conversation, Refusal
from tests.control.homes import Homes

OLDER = "the process of crab is of another version of Bimetal"
UNKNOWN = {"class": "CommandNotFound", "desc": "The command x has not been found"}
UNEXPECTED = {"class": "GenericError", "desc": "arguments of stop: Object contains unknown field"}


class Older:
    """A process that answers with ``error``, whatever it is asked for."""

    def __init__(self, listener: socket.socket):
        self.error: dict[str, Any] = {}
        self._listener = listener

    def serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            self._say(client, {"QMP": {"version": {}, "capabilities": []}})
            while asked := client.recv(1 << 16):
                negotiates = json.loads(asked)["execute"] == "qmp_capabilities"
                self._say(client, {"return": {}} if negotiates else {"error": self.error})

    def _say(self, client: socket.socket, message: dict[str, Any]) -> None:
        client.sendall(json.dumps(message).encode() + b"\n")


@pytest.fixture
def older(tmp_path: Path) -> Iterator[tuple[Older, Conversation]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "qmp"))
        listener.listen()
        process = Older(listener)
        thread = threading.Thread(target=process.serve)
        thread.start()
        with Conversation(str(tmp_path / "qmp"), "crab") as talk:
            yield process, talk
        thread.join()


@pytest.mark.parametrize("error", [UNKNOWN, UNEXPECTED])
def test_what_an_older_process_does_not_know_is_told(
    older: tuple[Older, Conversation], error: dict[str, Any]
) -> None:
    process, talk = older
    process.error = error
    with pytest.raises(Refusal, match=OLDER) as told:
        talk.ask("stop")
    assert told.value.remedy.startswith("restart the machine: bimetal shutdown crab")
    assert told.value.exit_code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "command", "arguments"),
    [
        (UNKNOWN, "fly", {}),
        (UNEXPECTED, "stop", {"speed": 1}),
        ({"class": "GenericError", "desc": "it is too late"}, "stop", {}),
    ],
)
def test_what_nobody_knows_is_the_clients_error(
    older: tuple[Older, Conversation], error: dict[str, Any], command: str, arguments: Any
) -> None:
    process, talk = older
    process.error = error
    with pytest.raises(Refusal) as told:
        talk.ask(command, **arguments)
    assert told.value.cause == error["desc"]


def test_a_machine_of_this_version_tells_what_it_does_not_know(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    for command, arguments in (("fly", {}), ("stop", {"speed": 1})):
        with pytest.raises(Refusal) as told:
            homes.machines.ask("crab", command, **arguments)
        assert "another version" not in told.value.cause
