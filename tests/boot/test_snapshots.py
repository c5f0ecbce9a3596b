"""Machines that are saved while they compute, restored on another accelerator, and saved again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bimetal import Machine
from bimetal.accel.reference import Reference
from bimetal.base.clock import RealClock
from tests.boot.counting import arm_program, expected, riscv_program

LIMIT = 120
LETTERS = 20
"""What is printed at least between two snapshots."""

TWO = ("interp", "jit", "interp", "jit")
ALL = ("interp", "reference", "jit", "reference", "interp")


@contextmanager
def restored(path: Path, isa: str, accel: str) -> Iterator[Machine]:
    clock = RealClock()
    engine = Reference(isa, clock=clock) if accel == "reference" else accel
    with Machine.restore(path, accel=engine, clock=clock, background=False) as vm:
        vm.start()
        yield vm


def wait_for_letters(vm: Machine, cpus: int) -> None:
    for first, last in (("a", "p"), ("A", "P"))[:cpus]:
        for _ in range(LETTERS):
            vm.console.expect(re.compile(f"[{first}-{last}]"), LIMIT)


def save(vm: Machine, path: Path, cpus: int) -> str:
    """Save a machine that has printed something, and end it; all of its output."""
    wait_for_letters(vm, cpus)
    vm.save(path, stop=True)
    return vm.console.log


@pytest.mark.parametrize(
    ("board", "isa", "program", "cpus", "accels"),
    [
        ("riscv-virt", "riscv64", riscv_program, 1, ALL),
        ("riscv-virt", "riscv64", riscv_program, 2, TWO),
        ("arm-virt", "aarch64", arm_program, 1, ALL),
    ],
)
def test_nothing_is_lost_or_done_twice(
    board: str,
    isa: str,
    program: Callable[[Path], Path],
    cpus: int,
    accels: tuple[str, ...],
    tmp_path: Path,
) -> None:
    kernel, snapshot = program(tmp_path / "program"), tmp_path / "snapshot"
    first = Machine(
        board, kernel=kernel, bios="none", accel="interp", cpus=cpus, memory="8M", background=False
    )
    with first as vm:
        vm.start()
        printed = save(vm, snapshot, cpus)
    kernel.unlink()  # what is in memory needs no file
    for accel in accels:
        with restored(snapshot, isa, accel) as vm:
            printed += save(vm, snapshot, cpus)
    small = "".join(filter(str.islower, printed))
    capital = "".join(filter(str.isupper, printed))
    assert small == expected(len(small))
    assert capital == expected(len(capital), "A")
    assert len(small) > LETTERS * len(accels)
    assert bool(capital) == (cpus > 1)
