"""Machines that stay, and go from one user's to another's while they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from tests.boot.verifying import verifying_program
from tests.control.homes import LIMIT, Homes

DISK = "<disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/></disk>"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Homes, Homes]]:
    """Two users, who have defined the same machine with the same disk."""
    both = []
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    kernel = verifying_program(tmp_path / "program.elf")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        homes = Homes(tmp_path / name)
        file = homes.file("crab", kernel, DISK.format(disk) + "<console type='pty'/>")
        assert homes.run("define", file).code == 0
        both.append(homes)
    yield both[0], both[1]
    for homes in both:
        homes.close()


def test_a_machine_goes_to_another_user_and_back(two: tuple[Homes, Homes], tmp_path: Path) -> None:
    here, there = two
    assert here.run("start", "crab").code == 0
    for lap in range(2):
        place = f"unix:{tmp_path}/way{lap}"
        waiting = there.run("start", "crab", "--incoming", place)
        assert waiting.code == 0, waiting.err
        assert "paused" in there.virsh("domstate", "crab")
        moved = here.run("migrate", "crab", place, "--downtime", "2000")
        assert (moved.code, moved.out) == (0, f"Domain 'crab' migrated to {place}\n"), moved.err
        assert here.machines.await_end("crab", LIMIT)
        assert here.virsh("domstate", "crab", "--reason") == "shut off (migrated)\n\n"
        assert there.machines.ask("crab", "query-status")["status"] == "running"
        assert "running" in there.virsh("domstate", "crab")
        here, there = there, here


def test_where_nobody_waits_it_goes_on_here(two: tuple[Homes, Homes], tmp_path: Path) -> None:
    here, there = two
    assert here.run("start", "crab").code == 0
    outcome = here.run("migrate", "crab", f"unix:{tmp_path}/nobody")
    assert outcome.code != 0
    assert "nothing can be sent" in outcome.err
    assert here.virsh("domstate", "crab") == "running\n\n"
    outcome = there.run("start", "crab", "--incoming", "carrier-pigeon:coop")
    assert outcome.code != 0
    assert "is no place" in outcome.err
    assert there.virsh("domstate", "crab") == "shut off\n\n"


def test_another_machine_is_not_taken(two: tuple[Homes, Homes], tmp_path: Path) -> None:
    here, there = two
    text = there.machines.xml("crab").replace(">16<", ">32<")
    there.machines.define(text)
    assert here.run("start", "crab").code == 0
    assert there.run("start", "crab", "--incoming", f"unix:{tmp_path}/way").code == 0
    outcome = here.run("migrate", "crab", f"unix:{tmp_path}/way")
    assert "its memory is 16 MiB, not 32 MiB" in outcome.err
    assert here.virsh("domstate", "crab") == "running\n\n"
    assert there.machines.await_end("crab", LIMIT)
    with pytest.raises(BimetalError, match="not running"):
        there.machines.running("crab")
