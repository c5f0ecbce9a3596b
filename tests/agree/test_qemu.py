"""Integer, bit-manipulation and floating-point instructions agree with QEMU's user emulation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host import programs

from . import qemu_oracle
from .executors import EXECUTORS
from .regions import RegionExecutor
from .state import Case, Executor, State, differences
from .tables import EXTENSIONS, table

pytestmark = programs(qemu_oracle.EMULATOR)

every_executor = pytest.mark.parametrize("executor", EXECUTORS, ids=lambda e: e.name)


def agree(cases: list[Case], got: list[State], want: list[State]) -> None:
    wrong = differences(cases, got, want)
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases)} differ", *wrong[:10]])


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[State]]:
    """QEMU's states, by extension, as far as a test has asked for them."""
    return {}


@every_executor
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_agrees(
    extension: str, executor: Executor, outcomes: dict[str, list[State]], tmp_path: Path
) -> None:
    cases = table(extension)
    if extension not in outcomes:
        outcomes[extension] = qemu_oracle.execute(cases, tmp_path)
    agree(cases, executor.execute(cases), outcomes[extension])


@pytest.mark.slow
@every_executor
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_agrees_at_length(extension: str, executor: Executor, tmp_path: Path) -> None:
    cases = table(extension, words=12, states=120)
    agree(cases, executor.execute(cases), qemu_oracle.execute(cases, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("extension", [e for e in EXTENSIONS if e != "zihintpause"])
def test_regions_agree(extension: str, level: int, tmp_path: Path) -> None:
    """Every instruction that a region can hold, translated on its own."""
    cases = table(extension, words=2)
    executor = RegionExecutor(level)
    agree(cases, executor.execute(cases), qemu_oracle.execute(cases, tmp_path))
    assert executor.regions.translated
