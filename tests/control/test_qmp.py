"""Conversations of clients with a machine: negotiation, answers, events, several at once."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import ExecuteError, QMPClient

from bimetal.accel.script import ScriptCpu
from bimetal.base.errors import BimetalError
from bimetal.base.lasting import undo_all
from bimetal.control import Monitor
from bimetal.control.commands import MACHINE
from bimetal.control.events import EVENTS, Event, ShutdownCause
from bimetal.machine.result import Ending
from bimetal.seam import Exit, Mmio
from tests.control.conftest import Made
from tests.control.talker import LIMIT, Talker

TEST = 0x10_0000
POWER_OFF, RESET = 0x5555, 0x7777


def finisher(value: int) -> Exit:
    return Mmio(TEST, 4, write=True, value=value)


def after(told: threading.Event, *exits: Exit) -> list[Any]:
    """A script whose exits come once ``told`` is set."""

    def wait(cpu: ScriptCpu) -> Exit | None:
        if told.is_set():
            return None
        cpu.repeat()
        return Mmio(TEST, 4)

    return [wait, *exits]


def test_the_greeting_and_the_negotiation(monitored: Made, place: Path) -> None:
    monitored()
    with Talker(place, negotiate=False) as client:
        greeting = client.greeting["QMP"]
        assert greeting["capabilities"] == ["oob"]
        assert greeting["version"]["qemu"].keys() == {"major", "minor", "micro"}
        assert greeting["version"]["package"].startswith("bimetal-")
        assert client.refused("query-status")[0] == "CommandNotFound"
        assert client.refused("qmp_capabilities", enable=["magic"])[0] == "GenericError"
        assert client.value("qmp_capabilities") == {}
        assert client.value("query-status") == {"running": True, "status": "running"}
        assert client.refused("qmp_capabilities")[0] == "CommandNotFound"


def test_commands_may_come_before_the_greeting_is_read(monitored: Made, place: Path) -> None:
    monitored()
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(LIMIT)
        line.connect(str(place))
        line.sendall(b'{"execute":"qmp_capabilities","id":1}{"execute":"query-name","id":2}')
        with line.makefile("rb") as lines:
            assert "QMP" in json.loads(lines.readline())
            assert json.loads(lines.readline()) == {"return": {}, "id": 1}
            assert json.loads(lines.readline()) == {"return": {}, "id": 2}


@pytest.mark.parametrize("id", [7, "x", None, {"a": [1.5, True]}, "\u00e9\U0001f600"])
def test_ids_come_back(talker: Talker, id: object) -> None:
    talker.send(json.dumps({"execute": "query-name", "id": id}))
    assert talker.answer() == {"return": {}, "id": id}
    talker.send(json.dumps({"execute": "nonsense", "id": id}))
    answer = talker.answer()
    assert (answer["id"], answer["error"]["class"]) == (id, "CommandNotFound")


@pytest.mark.parametrize(
    "message",
    [
        "[]",
        "{}",
        '{"execute":1}',
        '{"execute":"stop","arguments":[]}',
        '{"execute":"stop","exec-oob":"stop"}',
        '{"execute":"stop","surprise":1}',
        '{"execute":"stop","arguments":{"x":1}}',
        '{"execute":"balloon"}',
        '{"execute":"stop",}',
        '{"execute":"stop"]',
        '{"execute":"\\ud800"}',
        '{"a":1e999}',
    ],
)
def test_what_is_no_request_is_an_error_and_the_conversation_goes_on(
    talker: Talker, message: str
) -> None:
    talker.send(message + "\n")
    assert talker.answer()["error"]["class"] == "GenericError"
    assert talker.value("query-status")["running"]


def test_several_clients_at_once_and_one_after_the_other(monitored: Made, place: Path) -> None:
    monitored()
    with Talker(place) as one, Talker(place) as other, Talker(place, negotiate=False) as mute:
        one.value("stop")
        assert other.event("STOP")["timestamp"].keys() == {"seconds", "microseconds"}
        assert one.event("STOP")
        other.value("cont")
        assert one.event("RESUME")
        with pytest.raises(AssertionError):  # no event comes before the negotiation
            mute.value("query-status")
        assert not mute.events
    for _ in range(100):
        with Talker(place) as client:
            assert client.value("query-status")["running"]


def test_the_socket_is_the_users_own_and_goes_with_the_server(monitored: Made, place: Path) -> None:
    monitor = monitored()
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
    with Talker(place) as client:
        monitor.close()
        with pytest.raises(EOFError):
            client.next()
    assert not place.exists()
    monitor.close()


def test_what_is_told_of_a_machine_that_is_stopped_and_goes_on(
    monitored: Made, place: Path
) -> None:
    monitored(start=False)
    with Talker(place) as client:
        assert client.value("query-status") == {"running": False, "status": "prelaunch"}


def test_a_machine_that_starts_paused(monitored: Made, place: Path) -> None:
    monitored(prepare=lambda machine: machine.pause())
    with Talker(place) as client:
        assert client.value("query-status")["status"] == "prelaunch"
        client.value("cont")
        client.value("cont")
        assert client.event("RESUME")
        assert client.value("query-status")["status"] == "running"
        client.value("stop")
        client.value("stop")
        assert client.value("query-status")["status"] == "paused"
        assert [event["event"] for event in client.events] == ["STOP"]


def test_the_guest_resets_and_switches_off(monitored: Made, place: Path) -> None:
    ready = threading.Event()
    script = after(ready, finisher(RESET), finisher(POWER_OFF))
    monitor = monitored(*script)
    with Talker(place) as client:
        ready.set()
        assert client.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}
        told = client.event("SHUTDOWN")["data"]
        assert told == {"guest": True, "reason": "guest-shutdown"}
        assert client.value("query-status") == {"running": False, "status": "shutdown"}
        for command in ("cont", "system_reset", "system_powerdown"):
            assert "has ended" in client.refused(command)[1]
    assert monitor.vm.machine.wait(LIMIT).ending is Ending.POWER_OFF


def test_the_host_resets(monitored: Made, place: Path) -> None:
    monitored()
    with Talker(place) as client:
        client.value("system_reset")
        told = client.event("RESET")["data"]
        assert told == {"guest": False, "reason": "host-qmp-system-reset"}


def test_quit_is_answered_and_told_of(monitored: Made, place: Path) -> None:
    monitor = monitored()
    with Talker(place) as client, Talker(place) as other:
        client.value("quit")
        for each in (client, other):
            told = each.event("SHUTDOWN")["data"]
            assert told == {"guest": False, "reason": "host-qmp-quit"}
    assert monitor.vm.machine.wait(LIMIT).ending is Ending.STOPPED


def test_the_last_events_reach_clients_before_the_server_is_gone(
    monitored: Made, place: Path
) -> None:
    monitor = monitored()
    with Talker(place) as client:
        monitor.signalled()
        monitor.vm.machine.stop()
        monitor.close()
        told = client.event("SHUTDOWN")["data"]
        assert told == {"guest": False, "reason": ShutdownCause.HOST_SIGNAL}
        with pytest.raises(EOFError):
            client.next()


def test_out_of_band_commands_overtake(monitored: Made, place: Path) -> None:
    monitor = monitored()
    with monitor.vm.lock:  # which keeps whoever wants to change drives waiting
        with Talker(place, oob=True) as client:
            client.send('{"execute":"query-block","id":"slow"}')
            client.send('{"exec-oob":"query-status","id":"quick"}')
            assert client.answer()["id"] == "quick"
            client.send('{"exec-oob":"query-block","id":"waits"}')
            assert client.answer()["error"]["class"] == "GenericError"
            monitor.vm.lock.release()
            assert client.answer()["id"] == "slow"
            monitor.vm.lock.acquire()
        with Talker(place) as client:
            client.send('{"exec-oob":"query-status"}')
            assert "not negotiated" in client.answer()["error"]["desc"]


def test_a_defect_of_ours_ends_nothing(
    talker: Talker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(vm: object) -> None:
        raise ZeroDivisionError("oops")

    command = MACHINE["query-uuid"]
    monkeypatch.setitem(MACHINE._commands, "query-uuid", type(command)("query-uuid", broken))
    assert "ZeroDivisionError" in talker.refused("query-uuid")[1]
    assert "query-uuid failed" in caplog.text
    assert talker.value("query-status")["running"]


def test_a_flood_of_events_of_the_guest_is_told_sparingly(monitored: Made, place: Path) -> None:
    monitor = monitored()
    with Talker(place) as client:
        for _ in range(1000):
            monitor._happened(Event("BALLOON_CHANGE"))
        client.value("query-status")
        assert len([each for each in client.events if each["event"] == "BALLOON_CHANGE"]) <= 2


def test_a_copy_of_the_process_has_no_part_in_it(monitored: Made, place: Path) -> None:
    monitor = monitored()
    with Talker(place) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the process has threads, which the copy has not
        before = len(os.listdir("/proc/self/fd"))
        pid = os.fork()
        if not pid:
            undo_all()  # as at the end of a process
            os._exit(before - len(os.listdir("/proc/self/fd")))
        closed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert closed == 2, "the listening socket, and the client's"
        assert client.value("query-status")["running"]
    assert place.exists()
    with Talker(place) as client:
        assert client.value("query-status")["running"]
    assert monitor.places == [f"unix:{place}"]


def test_over_tcp(monitored: Made, kernel: Path) -> None:
    monitor = monitored()
    with Monitor(monitor.vm.machine, "tcp:127.0.0.1:0,server=on,wait=off") as second:
        (where,) = second.places
        host, _, port = where.removeprefix("tcp:").rpartition(":")
        line = socket.create_connection((host, int(port)), LIMIT)
        with line, line.makefile("rb") as lines:
            assert "QMP" in json.loads(lines.readline())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp:0.0.0.0:0", "whoever reaches it could do anything"),
        ("tcp:nowhere", "no port number"),
        ("telnet:x", "that is no place"),
        ("unix:", "that is no place"),
        ("unix:/tmp/x,colour=red", "'colour' says nothing"),
        ("unix:/tmp/x,server=off", "clients come to it"),
        ("unix:/no/such/folder/x", "No such file"),
        ("unix:/tmp/" + "x" * 200, "too long"),
    ],
)
def test_places_that_cannot_be_had(monitored: Made, text: str, why: str) -> None:
    monitor = monitored()
    with pytest.raises(BimetalError, match=why):
        Monitor(monitor.vm.machine, text)


def test_a_file_at_the_place_stays_and_a_stale_socket_goes(monitored: Made, tmp_path: Path) -> None:
    machine = monitored().vm.machine
    data = tmp_path / "data"
    data.write_text("precious")
    with pytest.raises(BimetalError, match="no socket"):
        Monitor(machine, f"unix:{data}")
    assert data.read_text() == "precious"
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    with Monitor(machine, f"unix:{stale}"), Talker(stale) as client:
        assert client.value("query-status")["running"]


def test_the_client_of_qemu_itself(monitored: Made, place: Path) -> None:
    """Outside oracle: the library `qemu.qmp`, which checks greeting, answers and events."""
    monitored(name="crab")

    async def talk() -> None:
        client = QMPClient("test")
        await client.connect(str(place))
        assert client.greeting is not None
        assert await client.execute("query-name") == {"name": "crab"}
        with client.listener("STOP") as listener:
            await client.execute("stop")
            event = await asyncio.wait_for(listener.get(), LIMIT)
            assert event["event"] == "STOP"
        with pytest.raises(ExecuteError, match="no command 'nonsense'"):
            await client.execute("nonsense")
        names = await client.execute("query-commands")
        assert names == [{"name": command.name} for command in MACHINE]
        status = await client.execute("query-status", oob=False)
        assert status == {"running": False, "status": "paused"}
        await client.disconnect()

    asyncio.run(talk())


def test_events_and_commands_are_those_of_the_schema(talker: Talker) -> None:
    schema = talker.value("query-qmp-schema")
    kinds = {entry["name"]: entry["meta-type"] for entry in schema}
    events = {each["name"] for each in talker.value("query-events")}
    assert events == set(EVENTS) == {name for name in kinds if kinds[name] == "event"}
    commands = {each["name"] for each in talker.value("query-commands")}
    assert commands == {name for name in kinds if kinds[name] == "command"}


def test_the_public_names_cost_nothing_before_they_are_used() -> None:
    code = "import bimetal.cli.program, sys; print('msgspec' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
