"""The state of a machine through descriptors that clients hand over."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends.passage import await_passage, open_passage
from bimetal.base.errors import BimetalError
from bimetal.base.threads import EndingThread
from bimetal.control import Monitor
from bimetal.control.migration import Migration
from tests.control.talker import Talker

Made = Callable[..., Monitor]
HEAD = b"what somebody else has written"


def hand_over(talker: Talker, name: str, descriptor: int) -> dict[str, object]:
    message = json.dumps({"execute": "getfd", "arguments": {"fdname": name}})
    socket.send_fds(talker.socket, [message.encode()], [descriptor])
    return talker.answer()


def test_a_state_is_written_behind_what_is_there(
    monitored: Made, place: Path, tmp_path: Path
) -> None:
    monitored()
    path = tmp_path / "state"
    path.write_bytes(HEAD)
    with Talker(place) as talker:
        with path.open("ab") as file:
            assert hand_over(talker, "migrate", file.fileno()) == {"return": {}}
        assert "status" not in talker.value("query-migrate")
        talker.value("migrate", uri="fd:migrate", detach=True)
        states = [talker.event("MIGRATION")["data"]["status"] for _ in range(3)]
        assert states == ["setup", "active", "completed"]
        told = talker.value("query-migrate")
        assert told["status"] == "completed"
        assert 0 < told["ram"]["transferred"] < path.stat().st_size - len(HEAD)
        assert talker.value("query-status") == {"running": False, "status": "postmigrate"}
        talker.value("cont")  # it has no disk that would tell that it runs elsewhere
        assert talker.value("query-status")["running"]
    assert path.read_bytes().startswith(HEAD)


def test_descriptors_have_names_until_they_are_used(talker: Talker, tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        hand_over(talker, "a", write)
        os.close(write)
        hand_over(talker, "a", read)  # in place of the first one, which is closed
        assert os.read(read, 1) == b""
        assert talker.value("closefd", fdname="a") == {}
        assert "there is no descriptor 'a'" in talker.refused("closefd", fdname="a")[1]
    finally:
        os.close(read)


def test_a_command_without_a_descriptor_is_refused(talker: Talker) -> None:
    assert "no descriptor came" in talker.refused("getfd", fdname="a")[1]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("fd:none", "there is no descriptor 'none'"),
        ("tcp:localhost:99999", "'tcp:localhost:99999' is no place"),
        ("fd:99999", "descriptor 99999"),
    ],
)
def test_where_no_state_can_go(talker: Talker, uri: str, why: str) -> None:
    assert why in talker.refused("migrate", uri=uri)[1]
    assert "does not wait for a state" in talker.refused("migrate-incoming", uri=uri)[1]


def test_what_migration_can_do(talker: Talker) -> None:
    told = talker.value("query-migrate-capabilities")
    assert told == [
        {"capability": "events", "state": True},
        {"capability": "return-path", "state": False},
    ]
    answers = [{"capability": "return-path", "state": True}]
    talker.value("migrate-set-capabilities", capabilities=answers)
    assert "nothing comes back" in talker.refused("migrate", uri="exec:cat > /dev/null")[1]
    off = [{"capability": "xbzrle", "state": False}, {"capability": "events", "state": True}]
    talker.value("migrate-set-capabilities", capabilities=off)
    on = [{"capability": "xbzrle", "state": True}]
    assert "cannot do xbzrle" in talker.refused("migrate-set-capabilities", capabilities=on)[1]


def test_a_machine_that_comes_is_awaited_until_it_runs(
    monitored: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees neither would take it for one that has ended."""
    vm, seen = monitored(start=False).vm, list[bool]()
    vm.awaits_state = True
    monkeypatch.setattr(vm.machine, "start", lambda: seen.append(vm.awaits_state))
    monkeypatch.setattr(Migration, "arrive", lambda _, machine, way, there, failed: there())
    vm.await_machine(await_passage("exec:true")[1])
    assert seen == [True]
    assert not vm.awaits_state


def no_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_host_without_threads_leaves_nothing_under_way(
    monitored: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm, place = monitored(start=False).vm, tmp_path / "way"
    _, coming = await_passage(f"unix:{place}")
    before = len(os.listdir("/proc/self/fd"))
    way = open_passage(f"file:{tmp_path / 'state'}")
    with monkeypatch.context() as there:
        there.setattr(EndingThread, "start", no_threads)
        with pytest.raises(BimetalError, match="makes no more threads"):
            vm.await_machine(coming)
        assert not place.exists()
        with pytest.raises(BimetalError, match="makes no more threads"):
            vm.migration.leave(vm.machine, way)
    assert len(os.listdir("/proc/self/fd")) == before - 1, "the listener is gone, too"
    assert (vm.migration.under_way, vm.migration.status) == (False, "failed")


def test_who_is_awaited_while_a_machine_moves_already_leaves_no_place(
    monitored: Made, tmp_path: Path
) -> None:
    vm, place = monitored(start=False).vm, tmp_path / "way"
    _, coming = await_passage(f"unix:{place}")
    vm.migration.status = "active"
    with pytest.raises(BimetalError, match="moves already"):
        vm.await_machine(coming)
    assert not place.exists()
