"""Harts that share locks, counters and messages get the right answers, however code is translated.

pytest -m slow tests/agree/test_torture.py      # for longer
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, FirmwareCall, Kicked, MemorySlot
from tests.host import programs

from .c_runs import BASE, COMPILER, EXIT, SUPERVISOR, compiled, load
from .engines import STRESS, engine

pytestmark = programs(COMPILER)

SOURCE = Path(__file__).with_name("torture.c").read_text()
SIZE, STACK = 1 << 20, 0x1000
YIELD = 124
QUICK = {"interp": 200_000, "exact": 100_000, "everything": 50_000, "optimise,forget": 10_000}
LONG = 50_000
SLICE = 500
LIMIT = 200.0


def run_to_its_end(cpu: Cpu, answers: list[object], end: float) -> None:
    """Run a hart until it gives its answer, or give why it does not."""
    while True:
        exit_ = cpu.run()
        if isinstance(exit_, FirmwareCall) and exit_.args[-1] == YIELD:
            os.sched_yield()
            exit_.results = (0,)
        elif isinstance(exit_, FirmwareCall) and exit_.args[-1] == EXIT:
            answers.append(exit_.args[0])
            return
        elif not isinstance(exit_, Kicked) or time.monotonic() > end:
            answers.append(exit_)  # a lost update can leave all of them waiting
            return


def torture(accelerator: Accelerator, program: Path, harts: int, laps: int) -> None:
    """Run the program on new CPUs; each says that all was right."""
    ram = Ram("ram", SIZE)
    entry = load(program, ram)
    accelerator.set_memory([MemorySlot(BASE, SIZE, ram.host)])
    answers: list[object] = []
    end = time.monotonic() + LIMIT
    cpus, threads = [], []
    for hart in range(harts):
        cpu = accelerator.add_cpu(hart)
        registers = {
            "priv": SUPERVISOR, "pc": entry, "a0": hart, "a1": harts, "a2": laps,
            "sp": BASE + SIZE - hart * STACK,
        }  # fmt: skip
        for name, value in registers.items():
            cpu.write_register(name, value)
        cpus.append(cpu)
        threads.append(threading.Thread(target=run_to_its_end, args=(cpu, answers, end)))
    for thread in threads:
        thread.start()
    for thread, cpu in zip(threads, cpus, strict=True):
        thread.join(max(0.0, end - time.monotonic()))
        while thread.is_alive():
            cpu.kick()
            thread.join(0.1)
    ram.close()
    assert answers == [1] * harts


@pytest.mark.parametrize(
    ("name", "harts"), [("interp", 4), ("exact", 4), ("everything", 2), ("optimise,forget", 2)]
)
def test_all_is_right(name: str, harts: int, tmp_path: Path) -> None:
    with engine(name, cpus=harts, slice=SLICE) as accelerator:
        torture(accelerator, compiled(SOURCE, "2", tmp_path), harts, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("harts", [2, 3, 4])
@pytest.mark.parametrize("name", ["interp", "exact", *STRESS])
@pytest.mark.parametrize("level", "02")
def test_all_is_right_at_length(level: str, name: str, harts: int, tmp_path: Path) -> None:
    with engine(name, cpus=harts, slice=SLICE) as accelerator:
        torture(accelerator, compiled(SOURCE, level, tmp_path), harts, LONG)
