"""vCPUs that wait for the translator, as they do under stress, are to be had at any time."""

from __future__ import annotations

import threading

import pytest

from bimetal.codegen.job import Job
from bimetal.codegen.policy import stressed
from bimetal.seam import Kicked
from tests.codegen.hart import jit
from tests.codegen.programs import random_program

PATIENCE = 60
"""Seconds, for a busy host."""


class Busy:
    """A translator that is at its first job for ever."""

    asked = threading.Event()

    def __init__(self, isa: object, shared: bool):
        pass

    def submit(self, job: Job) -> bool:
        return True

    def answer(self, seconds: float | None) -> None:
        self.asked.set()
        threading.Event().wait(seconds)

    def close(self) -> None:
        pass


def test_a_vcpu_that_waits_for_the_translator_can_be_kicked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bimetal.codegen.worker.Worker", Busy)
    monkeypatch.setattr(Busy, "asked", threading.Event())
    with jit(stressed("everything")) as (hart, cpu):
        hart.begin(random_program(4))
        exits: list[object] = []
        thread = threading.Thread(target=lambda: exits.append(cpu.run()), daemon=True)
        thread.start()
        assert Busy.asked.wait(PATIENCE)
        cpu.kick()
        thread.join(PATIENCE)
        assert [type(exit_) for exit_ in exits] == [Kicked]
