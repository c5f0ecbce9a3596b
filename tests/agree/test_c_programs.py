"""Random C programs print the same in QEMU's user emulation, in the reference, and translated.

pytest -m slow tests/agree/test_c_programs.py      # many programs, every stress mode
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.host import programs

from . import c_runs, qemu_oracle
from .c_programs import random_source
from .engines import STRESS, engine

pytestmark = [
    programs(qemu_oracle.EMULATOR, c_runs.COMPILER),
]


def check(names: Iterable[str], programs: Iterable[tuple[int, Path]], cpus: int = 1) -> None:
    """Run the programs, which have seeds, on each engine, and compare with QEMU and interp."""
    wanted: dict[Path, c_runs.Run] = {}
    with engine("interp") as interp:
        cpu = interp.add_cpu(0)
        for seed, program in programs:
            wanted[program] = c_runs.on(interp, cpu, program)
            assert wanted[program].printed == c_runs.on_qemu(program).printed, f"seed {seed}"
    for name in names:
        with engine(name, cpus=cpus) as accelerator:
            cpu = accelerator.add_cpu(0)
            for program, run in wanted.items():
                assert c_runs.on(accelerator, cpu, program) == run, f"{program} on {name}"


def compiled(seeds: Iterable[int], levels: str, folder: Path, turns: int) -> list[tuple[int, Path]]:
    """Random programs, each at some of gcc's levels."""
    programs = []
    for seed in seeds:
        for level in levels:
            place = folder / f"{seed}-{level}"
            place.mkdir()
            programs.append((seed, c_runs.compiled(random_source(seed, turns), level, place)))
    return programs


@pytest.mark.parametrize("name", ["everything", "optimise,forget", "pieces"])
def test_translated_at_once(name: str, tmp_path: Path) -> None:
    check([name], compiled((3,), "2", tmp_path, turns=50))


def test_by_the_reference(tmp_path: Path) -> None:
    check(["reference"], compiled((3,), "1", tmp_path, turns=20))


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 2], ids=["alone", "shared"])
@pytest.mark.parametrize("seed", range(100, 130))
def test_in_every_mode(seed: int, cpus: int, tmp_path: Path) -> None:
    check(STRESS, compiled((seed,), "0123s", tmp_path, turns=300), cpus)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 230))
def test_many_by_the_reference(seed: int, tmp_path: Path) -> None:
    check(["reference"], compiled((seed,), "12", tmp_path, turns=20))
