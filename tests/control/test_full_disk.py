"""The host's disk has no room for what is kept of machines: what is there stays right."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control import machines, process
from bimetal.control.places import write_over, write_whole
from bimetal.control.process import Process
from tests.control.homes import Homes


def full(path: Path, text: str) -> None:
    raise BimetalError(f"{path} cannot be written: No space left on device", "", ExitCode.IO_ERROR)


def limited() -> None:
    """Let a process write nothing to files, as if there were no room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_start_says_what_is_missing(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    command = [sys.executable, "-c", "from bimetal.cli import main; main()", "start", "crab"]
    done = subprocess.run(
        command, env=homes.environment, preexec_fn=limited, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == ExitCode.IO_ERROR, done.stderr
    assert "File too large" in done.stderr
    assert "defect" not in done.stderr
    assert homes.machines.find("crab").state == "shut off"
    assert homes.machines.start("crab").runs


def test_the_state_of_a_machine_is_right(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *words: None)
    homes.places.prepare(homes.places.state("crab"))
    machine = Process(homes.text("crab"), homes.places, [])
    machine._tell(state="running", reason="booted")
    monkeypatch.setattr(process, "write_whole", full)
    for state in ("paused", "running", "shut off"):
        machine._tell(state=state)
        assert homes.places.state_of("crab") == {"state": state, "reason": "booted"}


def test_what_is_longer_than_before_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "four")
    write_over(path, "five")
    assert path.read_text() == "five"
    with pytest.raises(OSError, match="No space left") as told:
        write_over(path, "longer")
    assert told.value.errno == errno.ENOSPC
    assert path.read_text() == "five"


def test_a_machine_that_cannot_be_renamed_has_its_name(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.machines.define(homes.text("crab"))
    before = homes.places.definition("crab").read_text()
    with monkeypatch.context() as there:
        there.setattr(machines, "write_whole", full)
        with pytest.raises(BimetalError, match="No space left"):
            homes.machines.rename("crab", "whale")
    assert [each.name for each in homes.machines] == ["crab"]
    assert homes.places.definition("crab").read_text() == before
    homes.machines.rename("crab", "whale")
    assert [each.name for each in homes.machines] == ["whale"]


def said_of(homes: Homes, name: str) -> list[Any]:
    paths = (homes.places.descriptions, homes.places.checkpoints, homes.places.backup)
    return [path(name).name for path in paths if path(name).exists()]


def test_what_was_said_of_a_machine_is_not_said_of_another_of_that_name(homes: Homes) -> None:
    """It was undefined while it ran, and nobody has removed that at its end."""
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    for path in (homes.places.descriptions, homes.places.checkpoints, homes.places.backup):
        path("crab").write_text("{}")
    homes.machines.undefine("crab")
    homes.machines.define(homes.text("whale"))
    homes.machines.destroy("crab")
    homes.machines.rename("whale", "crab")
    assert said_of(homes, "crab") == []
    homes.places.checkpoints("crab").write_text("{}")
    homes.machines.define(homes.machines.xml("crab"))
    assert said_of(homes, "crab") == ["checkpoints"], "it is the same machine"
    os.unlink(homes.places.definition("crab"))
    homes.machines.define(homes.text("crab"))
    assert said_of(homes, "crab") == []
