"""Machines that are controlled, whose CPUs play scripts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator, Step
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.control import Monitor
from bimetal.machine.machine import Machine
from tests.control.homes import Homes, Install, Outcome
from tests.control.talker import Talker

Made = Callable[..., Monitor]


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A raw binary, which nobody executes."""
    path = tmp_path / "kernel"
    path.write_bytes(b"\x13\0\0\0" * 16)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where QMP is served."""
    return tmp_path / "qmp"


@pytest.fixture
def monitored(kernel: Path, place: Path) -> Iterator[Made]:
    """Makes machines that are served at `place`, not started, whose CPU plays ``script``."""
    with ExitStack() as stack:

        def make(
            *script: Step,
            board: str = "riscv-virt",
            prepare: Callable[[Machine], object] | None = None,
            start: bool = True,
            **options: Any,
        ) -> Monitor:
            machine = stack.enter_context(
                Machine(
                    board,
                    memory="16M",
                    kernel=kernel,
                    kernel_format="raw",
                    accel=ScriptAccelerator([*script]),
                    serial=NoChars(),
                    clock=VirtualClock(),
                )
            )
            if prepare is not None:
                prepare(machine)
            monitor = Monitor(machine, f"unix:{place},server=on,wait=off", **options)
            stack.enter_context(monitor)
            if start:
                machine.start()
            return monitor

        yield make


@pytest.fixture
def talker(monitored: Made, place: Path) -> Iterator[Talker]:
    """A client of a machine that halts for ever."""
    monitored()
    with Talker(place) as client:
        yield client


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Homes]:
    """The machines that stay of one user, which are ended after the test."""
    made = Homes(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.fixture
def install(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes machines in virt-install's words, with images in a folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(homes.folder / "d"))

    def run(*words: str) -> Outcome:
        return homes.bimetal("install", *words)

    return run
