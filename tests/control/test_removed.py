"""Machines that run, of which somebody has removed, or moved, what lies on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends.lease import marked
from bimetal.base.errors import BimetalError
from tests.control.homes import Homes

WAYS: dict[str, Callable[[Homes], Path]] = {
    "its folder": lambda homes: homes.places.state("crab"),
    "all folders": lambda homes: homes.places.states,
    "its lease": lambda homes: Path(homes.places.lease("crab")),
    "its sockets": lambda homes: homes.places.run("crab"),
    "everything": lambda homes: homes.folder / "s",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("defined", [True, False])
def test_a_machine_is_found_and_ended(homes: Homes, way: str, defined: bool) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    pid = homes.places.pid("crab")
    if not defined:
        homes.places.definition("crab").unlink()
    path = WAYS[way](homes)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    (found,) = homes.machines
    assert (found.name, found.runs, found.persistent) == ("crab", True, defined)
    assert "crab" in homes.say("list", "--name")
    assert homes.machines.definition("crab").name == "crab"
    with pytest.raises(BimetalError, match="already running"):
        homes.machines.start("crab")
    assert homes.say("destroy", "crab").startswith("Domain 'crab' destroyed")
    assert not alive(pid)
    assert [each.name for each in homes.machines] == ["crab"] * defined
    if defined:
        assert homes.machines.start("crab").runs


def moved(homes: Homes) -> Path:
    """The folder has another place."""
    return homes.places.state("crab").rename(homes.folder / "elsewhere")


def renamed(homes: Homes) -> Path:
    """The folder is where that of another machine would be."""
    return homes.places.state("crab").rename(homes.places.state("whale"))


def all_moved(homes: Homes) -> Path:
    """All folders have another place."""
    return homes.places.states.rename(homes.folder / "elsewhere")


@pytest.mark.parametrize("move", [moved, renamed, all_moved])
@pytest.mark.parametrize("defined", [True, False])
def test_a_machine_whose_folder_is_elsewhere_is_found_and_ended(
    homes: Homes, move: Callable[[Homes], Path], defined: bool
) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.define(homes.text("whale"))
    homes.machines.start("crab")
    pid = homes.places.pid("crab")
    if not defined:
        homes.places.definition("crab").rename(homes.folder / "crab.xml")
    move(homes)
    listed = {each.name: (each.runs, each.persistent) for each in homes.machines}
    assert listed == {"crab": (True, defined), "whale": (False, True)}
    assert homes.places.pid("crab") == pid
    assert homes.machines.definition("crab").name == "crab"
    with pytest.raises(BimetalError, match="already running"):
        homes.machines.start("crab")
    if move is not renamed:
        assert homes.machines.start("whale").runs
    assert homes.say("destroy", "crab").startswith("Domain 'crab' destroyed")
    assert not alive(pid)
    if defined:
        assert homes.machines.start("crab").runs


def alive(pid: int) -> bool:
    """Whether there is such a process, or what is left of it until its parent knows."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_others_hold_is_not_a_machine(homes: Homes, tmp_path: Path) -> None:
    assert homes.places.marked() == {}
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    elsewhere = type(homes.places)(state=tmp_path / "other")
    shutil.rmtree(homes.places.state("crab"))
    assert elsewhere.marked() == {}
    assert homes.places.marked() == {"crab": homes.places.pid("crab")}
    assert homes.places.pid("crab") != os.getpid()


BYSTANDER = """
import fcntl, os, sys
mine = open(sys.argv[1], "w")
fcntl.lockf(mine, fcntl.LOCK_EX)
there = open(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


def test_whoever_only_reads_what_was_removed_is_not_the_machine(
    homes: Homes, tmp_path: Path
) -> None:
    """Though it holds a lock, of a file of its own, as a backup program may."""
    lease = Path(homes.places.lease("crab"))
    lease.parent.mkdir(parents=True)
    lease.touch()
    with subprocess.Popen(
        [sys.executable, "-c", BYSTANDER, tmp_path / "own", lease],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        lease.unlink()
        assert homes.places.marked() == {}
        process.communicate()


MARKED = """
import fcntl, os, sys
os.setuid(int(sys.argv[2]))
mark = os.memfd_create(sys.argv[1])
fcntl.lockf(mark, fcntl.LOCK_EX)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the marks of other users")
@pytest.mark.parametrize("user", [0, 65534])
def test_a_mark_of_another_user_is_none(user: int) -> None:
    """Or root would take that user's process for a machine of its own, and end it."""
    with subprocess.Popen(
        [sys.executable, "-c", MARKED, f"test-of-marks-{os.getpid()}:crab", str(user)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        found = marked(f"test-of-marks-{os.getpid()}:")
        assert found == ({} if user else {"crab": process.pid})
        process.communicate()
