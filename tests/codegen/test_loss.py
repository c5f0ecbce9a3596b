"""A machine goes on, and is translated, whatever its translator or its store does to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from bimetal.accel import orders
from bimetal.accel.jit import JitCpu
from bimetal.codegen.image import HEAD
from bimetal.codegen.job import Compiled
from bimetal.codegen.policy import USUAL
from bimetal.codegen.store import CodeStore
from bimetal.codegen.worker import Worker
from tests.codegen.hart import Hart, interp, jit
from tests.codegen.programs import random_program

EAGER = replace(USUAL, hot=1, warm=1, share=0.0, slice=31, patience=1, wait=True)
"""Harts wait for what they sample, so what is tried is tried in every run."""
WORKERS: list[Worker] = []


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodeStore:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return CodeStore()


def expected(seed: int) -> dict[str, object]:
    with interp() as hart:
        hart.begin(random_program(seed))
        hart.finish()
        return hart.outcome()


def check(hart: Hart, seed: int) -> None:
    hart.begin(random_program(seed))
    hart.finish()
    assert hart.outcome() == expected(seed)


class Seen(Worker):
    """Workers that a test can find."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        WORKERS.append(self)


def test_killed_translators_are_replaced_and_the_guest_notices_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bimetal.codegen.worker.Worker", Seen)
    WORKERS.clear()
    with jit(EAGER) as (hart, cpu):
        for seed in range(orders.REPLACEMENTS + 2):
            compiled = cpu.tiering.statistics.compiled
            check(hart, seed)
            if seed <= orders.REPLACEMENTS:
                assert cpu.tiering.statistics.compiled > compiled
                os.kill(WORKERS[-1].pid, signal.SIGKILL)
    assert len(WORKERS) == 1 + orders.REPLACEMENTS


class Spoiling(Worker):
    """Its first answers hold no image."""

    contents = [b"junk" * 100, b"\x7fELF", bytes(HEAD), bytes(5000)]

    def answer(self, seconds: float | None = 0) -> Compiled | None:
        answer = super().answer(seconds)
        if answer is not None and self.contents:
            answer = replace(answer, content=self.contents.pop())
        return answer


def failures(cpu: JitCpu) -> int:
    return sum(cpu.tiering.events.counts.values())


def test_bad_answers_are_left_out_and_good_ones_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimetal.codegen.worker.Worker", Spoiling)
    bad = len(Spoiling.contents)
    with jit(EAGER) as (hart, cpu):
        for seed in range(6):
            check(hart, seed)
        assert failures(cpu) == bad
        assert cpu.installed > 0


def test_what_is_whole_in_the_store_and_no_region_is_dropped(store: CodeStore) -> None:
    keeping = replace(EAGER, keep=True)
    with jit(keeping) as (hart, _):
        check(hart, 0)
    pages = [key for key in sorted(store.keys()) if not key.startswith("interpreter")]
    whole = {key: store.parts(key) for key in pages}
    for key in pages:
        for part in ("", "1", "nonsense", "x y z", "1 region_a 1 1000", "1 region_b 0 0", "1 a -1"):
            store.put(key, b"junk", part)
        store.put(key, b"junk", "1 region_c 1 0")
    with jit(keeping) as (hart, cpu):
        check(hart, 0)
        assert failures(cpu) == 8 * len(pages)
        assert cpu.tiering.statistics.from_store == sum(map(len, whole.values()))
    assert {key: store.parts(key) for key in pages} == whole
