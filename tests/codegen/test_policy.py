"""Policies, and random programs under those that stress the engine."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bimetal.base.errors import BimetalError
from bimetal.codegen.policy import USUAL, VARIABLE, configured, stressed
from tests.codegen.hart import interp, jit
from tests.codegen.programs import random_program

MODES = (
    "everything",
    "everything,forget",
    "optimise",
    "pieces,forget",
    "pieces=7,exact",
    "everything,records",
)


def test_words_add_up() -> None:
    policy = stressed("pieces=5,optimise,exact")
    assert policy == replace(stressed("everything"), pieces=5, level=2, exact=True)
    assert policy.wait
    assert not policy.keep


def test_the_environment_chooses() -> None:
    assert configured({}) == USUAL
    assert configured({VARIABLE: "forget"}) == stressed("forget")


@pytest.mark.parametrize("word", ["nothing", "exact=1", "pieces=", "pieces=x"])
def test_words_that_mean_nothing(word: str) -> None:
    with pytest.raises(BimetalError, match="choose from everything, optimise, forget"):
        stressed(word)


@pytest.mark.parametrize("mode", MODES)
def test_random_programs_end_alike(mode: str) -> None:
    policy = replace(stressed(mode), slice=5)
    with interp() as interpreted, jit(policy) as (hart, cpu):
        for seed in range(200, 206):
            program = random_program(seed)
            for each in (interpreted, hart):
                each.begin(program)
                each.finish()
            assert hart.outcome() == interpreted.outcome(), f"seed {seed}"
        assert cpu.installed > 0


def test_everything_is_translated_once() -> None:
    with jit(replace(stressed("everything"), slice=1)) as (hart, cpu):
        compiled = []
        for _ in range(3):
            hart.begin(random_program(7))
            hart.finish()
            compiled.append(cpu.tiering.statistics.compiled)
        assert 0 < compiled[0] == compiled[2]
        assert not cpu.samples(), "every sample was looked at"


def test_content_that_is_gone_and_was_never_hot_is_forgotten() -> None:
    with jit(replace(USUAL, wait=True, keep=False)) as (hart, cpu):
        for seed in range(400, 420):
            hart.begin(random_program(seed))
            hart.finish()
        assert cpu.counters["pages decoded"] >= 20
        assert 1 <= cpu.tiering.remembered <= cpu.pages() + cpu.tiering.statistics.compiled


def test_what_is_forgotten_is_installed_again() -> None:
    with jit(replace(stressed("everything"), slice=1)) as (hart, cpu):
        hart.begin(random_program(7))
        hart.finish()
        once = cpu.installed
    with jit(replace(stressed("forget"), slice=1, forget=3)) as (hart, cpu):
        hart.begin(random_program(7))
        hart.finish()
        assert cpu.installed > 10 * once
        assert cpu.counters["pages decoded"] > 10


def test_a_machine_holds_no_more_regions_than_it_may() -> None:
    policy = replace(stressed("everything"), slice=5, most=2)
    with jit(policy) as (hart, cpu):
        for seed in range(300, 306):
            hart.begin(random_program(seed))
            hart.finish()
        assert cpu.tiering.statistics.compiled == 2
