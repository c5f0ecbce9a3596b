"""Random C programs print the same in QEMU's user emulation, in the reference, and translated.

pytest -m slow tests/agree/test_c_programs.py      # many programs, every stress mode
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.host import need

from . import c_runs
from .c_programs import random_source
from .c_vectors import vector_source
from .engines import STRESS, engine
from .targets import AARCH64, TARGETS, Target

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)

Programs = list[tuple[int, Path]]


def check(target: Target, names: Iterable[str], programs: Programs, cpus: int = 1) -> None:
    """Run the programs, which have seeds, on each engine, and compare with QEMU and interp."""
    wanted: dict[Path, c_runs.Run] = {}
    with engine("interp", isa=target.isa) as interp:
        cpu = interp.add_cpu(0)
        for seed, program in programs:
            wanted[program] = c_runs.on(interp, cpu, target, program)
            assert wanted[program].printed == c_runs.on_qemu(target, program).printed, (
                f"seed {seed}"
            )
    for name in names:
        with engine(name, isa=target.isa, cpus=cpus) as accelerator:
            cpu = accelerator.add_cpu(0)
            for program, run in wanted.items():
                assert c_runs.on(accelerator, cpu, target, program) == run, f"{program} on {name}"


def compiled(
    target: Target, seeds: Iterable[int], levels: str, folder: Path, turns: int
) -> Programs:
    """Random programs, each at some of gcc's levels."""
    need(target.compiler, target.emulator)
    programs = []
    for seed in seeds:
        source = random_source(seed, turns, target.halves)
        for turn, level in enumerate(levels, seed):
            place = folder / f"{seed}-{level}"
            place.mkdir()
            programs.append((seed, c_runs.compiled(target, source, level, place, turn)))
    return programs


def of_vectors(seeds: Iterable[int], levels: str, folder: Path, turns: int) -> Programs:
    """Random programs that work on vectors."""
    need(AARCH64.compiler, AARCH64.emulator)
    programs = []
    for seed in seeds:
        for level in levels:
            place = folder / f"{seed}-{level}"
            place.mkdir()
            source = vector_source(seed, turns)
            programs.append((seed, c_runs.compiled(AARCH64, source, level, place, turn=1)))
    return programs


@targets
@pytest.mark.parametrize("name", ["everything", "optimise,forget", "pieces"])
def test_translated_at_once(target: Target, name: str, tmp_path: Path) -> None:
    check(target, [name], compiled(target, (3,), "2", tmp_path, turns=50))


@targets
def test_by_the_reference(target: Target, tmp_path: Path) -> None:
    check(target, ["reference"], compiled(target, (3,), "1", tmp_path, turns=20))


@pytest.mark.parametrize("name", ["everything", "optimise,forget", "reference"])
def test_vectors(name: str, tmp_path: Path) -> None:
    check(AARCH64, [name], of_vectors((1, 2), "2", tmp_path, turns=2))


@pytest.mark.slow
@targets
@pytest.mark.parametrize("cpus", [1, 2], ids=["alone", "shared"])
@pytest.mark.parametrize("seed", range(100, 130))
def test_in_every_mode(target: Target, seed: int, cpus: int, tmp_path: Path) -> None:
    check(target, STRESS, compiled(target, (seed,), "0123s", tmp_path, turns=300), cpus)


@pytest.mark.slow
@targets
@pytest.mark.parametrize("seed", range(200, 230))
def test_many_by_the_reference(target: Target, seed: int, tmp_path: Path) -> None:
    check(target, ["reference"], compiled(target, (seed,), "12", tmp_path, turns=20))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300, 360))
def test_many_vectors(seed: int, tmp_path: Path) -> None:
    programs = of_vectors((seed,), "02", tmp_path, turns=20)
    check(AARCH64, ("reference", *STRESS), programs)
