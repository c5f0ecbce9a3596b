"""What emulators tell of is what there is."""

from __future__ import annotations

import pytest

from bimetal import Machine
from bimetal.accel.kvm.x86_features import LEVELS
from bimetal.control.emulator.targets import TARGETS, Target
from bimetal.isa.names import UNFINISHED


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.isa)
def test_machines_are_boards(target: Target) -> None:
    for kind in target.machines:
        board = Machine.boards()[kind.board]
        assert (board.isa, board.max_cpus) == (target.isa, kind.cpu_max)
        assert set(kind.options.values()) <= board.options.keys()
        assert kind.pci == ("pci" in board.options.get("bus", ()))


def test_what_is_not_finished_has_to_be_asked_for() -> None:
    assert {isa for isa, target in TARGETS.items() if target.unfinished} == UNFINISHED


@pytest.mark.parametrize("isa", ["riscv64", "aarch64"])
def test_processor_models_are_there(isa: str) -> None:
    target = TARGETS[isa]
    for kind in target.machines:
        assert set(target.models.values()) <= {*Machine.cpu_models(kind.board, "jit")}


def test_processors_of_x86_are_kvms_and_ours() -> None:
    ours = set(Machine.cpu_models("microvm", "jit"))
    assert TARGETS["x86_64"].models.keys() == ours | set(LEVELS)


def test_controllers_are_those_of_the_board() -> None:
    for target in TARGETS.values():
        for kind in target.machines:
            versions = Machine.boards()[kind.board].options.get("gic", ())
            assert tuple(map(str, kind.controllers)) == versions
