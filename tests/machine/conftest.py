"""Machines whose CPUs play scripts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator, ScriptCpu, Step
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.machine import closing
from bimetal.machine.machine import Machine

LIMIT = 20
"""Seconds after which a test that should take milliseconds is taken for stuck."""


class Scripted:
    """A machine, its script CPUs, and the clock that stands still."""

    def __init__(self, kernel: Path, scripts: tuple[list[Step], ...], options: dict[str, Any]):
        self.clock = VirtualClock(wall_start_ns=10**18)
        self.accelerator = ScriptAccelerator(*scripts)
        options = {"kernel": str(kernel), "cpus": max(1, len(scripts)), **options}
        options.setdefault("kernel_format", "raw")
        options.setdefault("serial", NoChars())
        options.setdefault("clock", self.clock)
        options.setdefault("memory", "64M")
        board = options.pop("board", "riscv-virt")
        self.machine = Machine(board, accel=self.accelerator, **options)

    def run(self) -> "Scripted":
        """From power on to the end."""
        self.machine.start()
        self.machine.wait(LIMIT)
        return self

    @property
    def cpus(self) -> list[ScriptCpu]:
        return self.accelerator.cpus


Script = Callable[..., Scripted]


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A raw binary, which nobody executes."""
    path = tmp_path / "kernel"
    path.write_bytes(b"\x13\0\0\0" * 16)
    return path


@pytest.fixture
def script(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """A machine whose CPUs play the lists of exits given, closed after the test: whole, though a
    busy host may take longer for it than a machine waits for threads that are stuck."""
    monkeypatch.setattr(closing, "END_SECONDS", LIMIT)
    made: list[Scripted] = []

    def make(*scripts: list[Step], **options: Any) -> Scripted:
        made.append(Scripted(kernel, scripts, options))
        return made[-1]

    yield make
    for each in made:
        each.machine.close()
        assert each.accelerator.closed or not each.cpus
