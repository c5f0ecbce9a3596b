"""Thresholds are set while no request is carried out: for how full a file is, clusters may be
freed in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.block.qcow2 import writer as writing
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.machine.machine import Machine
from tests.machine.live.conftest import MIB, Made, Writer

ASIDE = "aside"
"""The names of threads that carry out requests begin so."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    images.create(str(path), 16 * MIB, format="qcow2")
    return path


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those in which an image is about to be changed, or looked at."""
    names, begin = list[str](), Qcow2Image.writer

    def watched(disk: Qcow2Image, *, changes: bool = True) -> writing.Writer:
        names.append(threading.current_thread().name)
        return begin(disk, changes=changes)

    monkeypatch.setattr(Qcow2Image, "writer", watched)
    return names


def watch(machine: Machine, image: Path) -> None:
    machine.set_write_threshold(image, MIB, lambda beyond: None, of_file=True)


@pytest.mark.parametrize("prepare", [None, Machine.pause], ids=["running", "paused at the start"])
def test_it_is_done_where_requests_are(
    made: Made, image: Path, threads: list[str], prepare: Callable[[Machine], object] | None
) -> None:
    machine = made(image, prepare=prepare)
    threads.clear()
    watch(machine, image)
    assert [name.partition("-")[0] for name in threads] == [ASIDE]


def test_before_the_start_there_are_none(made: Made, image: Path, threads: list[str]) -> None:
    made(image, prepare=lambda machine: watch(machine, image))
    assert threading.current_thread().name in threads


def test_beside_a_guest_that_writes(made: Made, image: Path) -> None:
    told = list[int]()
    machine = made(image)
    guest = Writer(machine)
    with guest:
        for limit in range(MIB, 9 * MIB, MIB):
            machine.set_write_threshold(image, limit, told.append, of_file=True)
            guest.reach(guest.requests + 20)
    guest.check()
    assert all(beyond > 0 for beyond in told)
