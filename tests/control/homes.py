"""Machines that stay, in folders of a test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from bimetal.cli.ending import Ending
from bimetal.cli.program import run as run_bimetal
from bimetal.cli.virsh import run as run_virsh
from bimetal.control import Machines
from bimetal.control.places import Places
from tests.boot.bare import BASE, END, write_program

__all__ = ["Homes", "Install", "Outcome"]

SOURCE = Path(__file__).resolve().parents[2] / "src"
LIMIT = 120

TEXT = """<domain type='qemu'>
  <name>{name}</name>
  <metadata><b:machine xmlns:b='urn:bimetal:machine:1' accel='interp'/></metadata>
  <memory unit='MiB'>16</memory>
  <os><type arch='riscv64' machine='virt'>hvm</type><kernel>{kernel}</kernel></os>
  <devices>{devices}</devices>
</domain>
"""

ECHO = (
    "lui t0, 0x10000",  # the serial port
    "lbu t1, 5(t0)",
    "andi t1, t1, 1",
    f"beq t1, zero, {BASE + 4:#x}",
    "lbu a0, 0(t0)",
    "sb a0, 0(t0)",
    f"jal zero, {BASE + 4:#x}",
)
"""A program that answers what is typed."""

IDLE = ("wfi", f"jal zero, {BASE:#x}")
"""A program that waits for ever, and costs nothing meanwhile."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Install = Callable[..., Outcome]
"""``bimetal install`` with the words given."""


class Homes:
    """The folders of one user, below ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder
        names = {"XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r"}
        self.variables = {variable: str(folder / name) for variable, name in names.items()}
        (folder / "r").mkdir()
        self.places = Places(
            folder / "c" / "bimetal", folder / "s" / "bimetal", folder / "r" / "bimetal"
        )
        self.machines = Machines(self.places)
        self.echo = write_program(folder / "echo.elf", *ECHO)
        self.idle = write_program(folder / "idle.elf", *IDLE)
        self.off = write_program(folder / "off.elf", *END)

    @property
    def environment(self) -> Mapping[str, str]:
        """That of a program of this user."""
        path = os.pathsep.join([str(SOURCE), *sys.path])
        return {**os.environ, **self.variables, "PYTHONPATH": path}

    def text(self, name: str, kernel: Path | None = None, devices: str = "") -> str:
        """A definition."""
        given = devices or "<console type='pty'/>"
        return TEXT.format(name=name, kernel=kernel or self.idle, devices=given)

    def file(self, name: str, kernel: Path | None = None, devices: str = "") -> str:
        """The path of a definition in a file."""
        path = self.folder / f"{name}.xml"
        path.write_text(self.text(name, kernel, devices))
        return str(path)

    def run(self, *words: str, program: str = "main") -> Outcome:
        """Run ``bimetal``, or ``bimetal-virsh``, in a process of its own."""
        code = f"from bimetal.cli import {program}; {program}()"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def virsh(self, *words: str) -> str:
        """What ``bimetal-virsh`` prints, which has to succeed."""
        outcome = self.run(*words, program="virsh")
        assert outcome.code == 0, outcome.err
        return outcome.out

    def quick(self, *words: str) -> Outcome:
        """Run ``bimetal-virsh`` in this process, whose environment is that of the user."""
        return self._within(run_virsh, words)

    def bimetal(self, *words: str) -> Outcome:
        """Run ``bimetal`` likewise."""
        return self._within(run_bimetal, words)

    def _within(self, run: Callable[..., int], words: Sequence[str]) -> Outcome:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(words, Ending())
        return Outcome(code, out.getvalue(), err.getvalue())

    def say(self, *words: str) -> str:
        """What it prints, which has to succeed."""
        outcome = self.quick(*words)
        assert outcome.code == 0, outcome.err
        return outcome.out

    def kill(self, name: str) -> None:
        """End the process of a machine by force."""
        os.kill(self.places.pid(name), signal.SIGKILL)
        assert self.machines.await_end(name, LIMIT)

    def close(self) -> None:
        """End all machines."""
        for known in self.machines:
            if known.runs:
                self.kill(known.name)
