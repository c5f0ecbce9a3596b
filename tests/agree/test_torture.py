"""Harts that share locks, counters and messages get the right answers, however code is translated.

pytest -m slow tests/agree/test_torture.py      # for longer
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, FirmwareCall, Kicked, MemorySlot

from .c_runs import BASE, COMPILER, OPTIONS, SUPERVISOR
from .engines import STRESS, engine

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs gcc-riscv64-linux-gnu")

SOURCE = Path(__file__).with_name("torture.c")
SIZE, STACK = 1 << 20, 0x1000
EXIT, YIELD = 93, 124
QUICK = {"interp": 200_000, "exact": 100_000, "everything": 50_000, "optimise,forget": 10_000}
LONG = 50_000
SLICE = 500
LIMIT = 200.0


def compiled(level: str, folder: Path) -> Path:
    """The program, compiled by gcc at a level."""
    assert COMPILER is not None
    made = folder / "torture"
    warnings = ("-Wall", "-Wno-parentheses", "-Werror")
    command = [COMPILER, f"-O{level}", *warnings, *OPTIONS, str(SOURCE), "-o", str(made)]
    subprocess.run(command, check=True)
    return made


def load(program: Path, ram: Ram) -> int:
    """Put the program into memory; where it begins."""
    with program.open("rb") as file:
        elf = ELFFile(file)
        for segment in elf.iter_segments("PT_LOAD"):
            at = segment["p_vaddr"] - BASE
            ram.bytes[at : at + segment["p_filesz"]] = segment.data()
        return int(elf.header["e_entry"])


def run_to_its_end(cpu: Cpu, answers: list[object], end: float) -> None:
    while True:
        match cpu.run():
            case Kicked() as exit_ if time.monotonic() > end:
                answers.append(exit_)  # a lost update can leave all of them waiting
                return
            case Kicked():
                pass
            case FirmwareCall(args=(*_, 124)) as call:
                assert call.args[-1] == YIELD
                os.sched_yield()
                call.results = (0,)
            case FirmwareCall(args=(answer, *_, 93)):
                answers.append(answer)
                return
            case exit_:
                answers.append(exit_)
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
        torture(accelerator, compiled("2", tmp_path), harts, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("harts", [2, 3, 4])
@pytest.mark.parametrize("name", ["interp", "exact", *STRESS])
@pytest.mark.parametrize("level", "02")
def test_all_is_right_at_length(level: str, name: str, harts: int, tmp_path: Path) -> None:
    with engine(name, cpus=harts, slice=SLICE) as accelerator:
        torture(accelerator, compiled(level, tmp_path), harts, LONG)
