"""CPUs that share locks, counters and messages get the right answers, however code is translated.

pytest -m slow tests/agree/test_torture.py      # for longer
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from bimetal.seam import Accelerator, Cpu, FirmwareCall, Kicked
from tests.host import need

from .c_runs import EXIT, compiled, enter, load, memory
from .engines import STRESS, engine
from .side_by_side import Progress, side_by_side
from .targets import BASE, SIZE, TARGETS, Target

SOURCE = Path(__file__).with_name("torture.c").read_text()
STACK = 0x1000
YIELD, GETS_ON = 124, 1000
QUICK = {"interp": 200_000, "exact": 100_000, "everything": 50_000, "optimise,forget": 10_000}
LONG = 50_000
SLICE = 500
LIMIT = 200.0
"""Seconds for some laps. On a busy host each of them waits for the scheduler several times, and all
together may take any time."""


def run_to_its_end(target: Target, answers: list[object], cpu: Cpu, progress: Progress) -> None:
    """Run a CPU until it gives its answer, or give why it does not."""
    while True:
        exit_ = cpu.run()
        number = cpu.read_register(target.number) if isinstance(exit_, FirmwareCall) else None
        if isinstance(exit_, FirmwareCall) and number in (YIELD, GETS_ON):
            if number == GETS_ON:
                progress.made()
            os.sched_yield()
            exit_.results = (0,)
        elif number == EXIT:
            answers.append(cpu.read_register(target.arguments[0]))
            return
        elif not isinstance(exit_, Kicked) or progress.ended:
            answers.append(exit_)
            return


def torture(accelerator: Accelerator, target: Target, program: Path, count: int, laps: int) -> None:
    """Run the program on new CPUs; each says that all was right."""
    ram = memory(accelerator, target)
    entry = load(program, ram)
    answers: list[object] = []
    cpus = []
    for number in range(count):
        cpu = accelerator.add_cpu(number)
        given = dict(zip(target.arguments, (number, count, laps), strict=True))
        enter(cpu, target, pc=entry, sp=BASE + SIZE - number * STACK, **given)
        cpus.append(cpu)
    side_by_side(cpus, partial(run_to_its_end, target, answers), Progress(LIMIT))
    ram.close()
    assert answers == [1] * count


def check(
    target: Target, level: str, turn: int, name: str, cpus: int, laps: int, folder: Path
) -> None:
    """Compile the program and run it."""
    need(target.compiler)
    program = compiled(target, SOURCE, level, folder, turn)
    with engine(name, isa=target.isa, cpus=cpus, slice=SLICE) as accelerator:
        torture(accelerator, target, program, cpus, laps)


@pytest.mark.parametrize(
    ("name", "cpus"), [("interp", 4), ("exact", 4), ("everything", 2), ("optimise,forget", 2)]
)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_all_is_right(target: Target, name: str, cpus: int, tmp_path: Path) -> None:
    check(target, "2", 1, name, cpus, QUICK[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [2, 3, 4])
@pytest.mark.parametrize("name", ["interp", "exact", *STRESS])
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("level", "02")
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_all_is_right_at_length(
    target: Target, level: str, turn: int, name: str, cpus: int, tmp_path: Path
) -> None:
    if turn >= len(target.marches):
        pytest.skip("the compiler makes one kind of program for it")
    check(target, level, turn, name, cpus, LONG, tmp_path)
