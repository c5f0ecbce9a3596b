"""Clients that are killed before any of the steps by which they change something: what is there
afterwards is what was there, or what was asked for, and the command can be given again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from tests.control.homes import Homes

STEPS = ("open", "replace", "rename", "unlink", "fsync", "symlink", "mkdir", "rmdir", "posix_spawn")
"""Functions of os by which anything changes."""

MOST = 200


@dataclass
class Left:
    """How many steps are left before the process is killed."""

    steps: int


def killed_after(steps: int, act: Callable[[], object]) -> bool:
    """Do something in a copy of this process, which is killed before step number ``steps``; whether
    it was."""
    child = os.fork()
    if not child:
        left = Left(steps)
        for name in STEPS:
            setattr(os, name, _counted(getattr(os, name), left))
        code = 1
        try:
            act()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _counted(function: Callable[..., Any], left: Left) -> Callable[..., Any]:
    def step(*arguments: Any, **more: Any) -> Any:
        if function.__name__ == "open" and not (arguments[1:] and arguments[1] & os.O_CREAT):
            return function(*arguments, **more)  # which changes nothing
        if not left.steps:
            os.kill(os.getpid(), signal.SIGKILL)
        left.steps -= 1
        return function(*arguments, **more)

    return step


def each_step(act: Callable[[], object], check: Callable[[], None]) -> int:
    """Kill the process that acts before each of its steps, and look what is there; how many steps
    it has."""
    for steps in range(MOST):
        if not killed_after(steps, act):
            check()
            return steps
        check()
    raise AssertionError("it does not end")


def names(homes: Homes) -> list[str]:
    """The machines, each of which has a definition of its own name."""
    found = [each.name for each in homes.machines]
    for name in found:
        assert homes.machines.definition(name).name == name
    return found


def test_defining(homes: Homes) -> None:
    def define() -> None:
        if not names(homes):
            homes.machines.define(homes.text("crab"))

    def check() -> None:
        assert names(homes) in ([], ["crab"])

    assert each_step(define, check) >= 3
    assert names(homes) == ["crab"]


def test_defining_anew(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    text = homes.machines.xml("crab").replace(">16<", ">32<")

    def check() -> None:
        assert names(homes) == ["crab"]
        assert homes.machines.definition("crab").memory in (16 << 20, 32 << 20)

    assert each_step(lambda: homes.machines.define(text), check) >= 3
    assert homes.machines.definition("crab").memory == 32 << 20


def test_renaming(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    uuid = homes.machines.definition("crab").uuid

    def rename() -> None:
        if names(homes) == ["crab"]:
            homes.machines.rename("crab", "whale")

    def check() -> None:
        (name,) = names(homes)
        assert homes.machines.definition(name).uuid == uuid

    each_step(rename, check)
    assert names(homes) == ["whale"]


def test_saving(homes: Homes, tmp_path: Path) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    file = str(tmp_path / "crab.state")

    def check() -> None:
        """The machine goes on where it was: from its own place, or from the file."""
        known = homes.machines.find("crab")
        assert not known.runs
        if known.saved:
            homes.machines.start("crab")
        else:
            homes.machines.restore(file)
        assert homes.machines.find("crab").reason == "restored"

    assert each_step(lambda: homes.machines.save("crab", file), check) >= 1


def test_undefining(homes: Homes) -> None:
    def act() -> None:
        if not names(homes):
            homes.machines.define(homes.text("crab"))
        homes.machines.undefine("crab")

    def check() -> None:
        assert names(homes) in ([], ["crab"])

    each_step(act, check)
    assert names(homes) == []


def test_starting(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))

    def start() -> None:
        if not homes.machines.find("crab").runs:
            homes.machines.start("crab")

    def check() -> None:
        assert homes.machines.find("crab").state in ("running", "shut off", "paused", "no state")

    each_step(start, check)
    assert homes.machines.find("crab").state == "running"


def test_snapshots_of_disks(homes: Homes, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "1M", format="qcow2")
    device = (
        f"<disk type='file'><driver type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>"
    )
    homes.machines.define(homes.text("crab", devices=device))

    def keep() -> None:
        if not images.snapshots(str(disk)):
            assert homes.quick("snapshot-create-as", "crab", "one").code == 0

    def check() -> None:
        assert images.check(str(disk)).is_sound
        assert [each.name for each in images.snapshots(str(disk))] in ([], ["one"])

    each_step(keep, check)
    assert [each.name for each in images.snapshots(str(disk))] == ["one"]


def test_copying(homes: Homes, tmp_path: Path) -> None:
    disk = tmp_path / "crab.qcow2"
    images.create(str(disk), "1M", format="qcow2")
    device = (
        f"<disk type='file'><driver type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>"
    )
    homes.machines.define(homes.text("crab", devices=device))

    def copy() -> None:
        if names(homes) == ["crab"]:
            Path(tmp_path / "fly.qcow2").unlink(missing_ok=True)  # what a killed client has left
            assert homes.bimetal("clone", "-o", "crab", "-n", "fly").code == 0

    def check() -> None:
        assert names(homes) in (["crab"], ["crab", "fly"])
        if "fly" in names(homes):
            path = homes.machines.definition("fly").disks[0].path
            assert images.compare(str(disk), path).identical

    each_step(copy, check)
    assert names(homes) == ["crab", "fly"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_while_defining(
    homes: Homes, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    homes.machines.define(homes.text("crab"))
    before = homes.places.definition("crab").read_text()

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, full)
        with pytest.raises(BimetalError, match="No space left on device"):
            homes.machines.define(before.replace(">16<", ">32<"))
    assert homes.places.definition("crab").read_text() == before
    left = {each.name for each in homes.places.definitions.iterdir()}
    assert left == {"crab.xml", ".lock"}
