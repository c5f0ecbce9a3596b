"""Two clients change definitions at once: one after the other, and neither undoes what the other
was told is done."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends import turns
from bimetal.backends.turns import turn
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control import machines
from bimetal.control.places import write_whole
from tests.control.homes import Homes


class Meanwhile:
    """Somebody else, who begins to ``act`` when the first one is about to write."""

    def __init__(self, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch):
        self.failures = list[str]()
        self._act = act
        self._thread = threading.Thread(target=self._run)
        monkeypatch.setattr(machines, "write_whole", self._written)

    def _run(self) -> None:
        try:
            self._act()
        except BimetalError as error:
            self.failures.append(error.cause)

    def _written(self, path: Path, text: str) -> None:
        if not self._thread.ident:
            self._thread.start()
            self._thread.join(0.1)
        write_whole(path, text)

    def end(self) -> list[str]:
        self._thread.join()
        return self.failures


def test_two_machines_of_one_name(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Meanwhile(lambda: homes.machines.define(homes.text("crab")), monkeypatch)
    mine = homes.machines.define(homes.text("crab"))
    assert other.end() == [f"domain 'crab' already exists with uuid {mine.uuid}"]
    assert homes.machines.definition("crab").uuid == mine.uuid


def test_two_machines_of_one_identity(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = "12345678-1234-5678-1234-567812345678"
    texts = [homes.text(name).replace("<memory", f"<uuid>{uuid}</uuid><memory", 1)
             for name in ("crab", "whale")]  # fmt: skip
    other = Meanwhile(lambda: homes.machines.define(texts[1]), monkeypatch)
    homes.machines.define(texts[0])
    assert other.end() == [f"domain 'crab' is already defined with uuid {uuid}"]
    assert [each.name for each in homes.machines] == ["crab"]


def test_a_name_that_two_want(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    homes.machines.define(homes.text("crab"))
    other = Meanwhile(lambda: homes.machines.rename("crab", "whale"), monkeypatch)
    homes.machines.define(homes.text("whale"))
    assert other.end() == [
        "Requested operation is not valid: domain with name 'whale' already exists"
    ]
    assert [each.name for each in homes.machines] == ["crab", "whale"]


def test_a_change_of_what_another_changes(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is lost."""
    homes.machines.define(homes.text("crab"))

    def replaced(one: str, other: str) -> None:
        homes.machines.change("crab", lambda text: text.replace(one, other))

    other = Meanwhile(lambda: replaced(">16<", ">32<"), monkeypatch)
    replaced("interp", "jit")
    assert other.end() == []
    definition = homes.machines.definition("crab")
    assert (definition.accel, definition.memory) == ("jit", 32 << 20)


def test_a_client_that_hangs_is_named(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    homes.machines.define(homes.text("crab"))
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    with turn(homes.places.definitions):
        with pytest.raises(BimetalError, match="another client has been changing") as told:
            homes.machines.define(homes.text("whale"))
        assert told.value.exit_code == ExitCode.UNAVAILABLE
        assert [each.name for each in homes.machines] == ["crab"]
    homes.machines.define(homes.text("whale"))


def test_what_is_locked_is_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it has to be by NFS (flock(2)), where the homes of many users are."""
    rights = list[int]()

    def flock(fd: int, operation: int) -> None:
        rights.append(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE)

    monkeypatch.setattr(fcntl, "flock", flock)
    with turn(tmp_path):
        assert rights == [os.O_RDWR]


def test_a_folder_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(BimetalError, match="cannot be locked: No locks available"), turn(tmp_path):
        pass
