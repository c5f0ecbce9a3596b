"""What emulators tell of is what there is."""

from __future__ import annotations

import pytest

from bimetal import BimetalError, Machine
from bimetal.accel.kvm.x86_features import LEVELS
from bimetal.control.emulator.lookups import AskedOnly, list_models
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
    target = TARGETS["x86_64"]
    assert target.models.keys() == ours | set(LEVELS)
    assert {*target.by_kvm} == target.models.keys() - ours


def test_what_kvm_alone_has_is_told_so() -> None:
    with pytest.raises(AskedOnly) as answer:
        list_models(TARGETS["x86_64"])
    lines = str(answer.value).splitlines()
    assert "  Nehalem" in lines
    assert {line.split()[0] for line in lines if "-accel kvm" in line} == {"host", "x86-64-v4"}


def test_a_machine_that_is_not_there_is_answered_by_those_that_are_each_once() -> None:
    with pytest.raises(BimetalError) as caught:
        TARGETS["x86_64"].machine("pc")
    assert caught.value.remedy == "choose from microvm, none"


def test_controllers_are_those_of_the_board() -> None:
    for target in TARGETS.values():
        for kind in target.machines:
            versions = Machine.boards()[kind.board].options.get("gic", ())
            assert tuple(map(str, kind.controllers)) == versions
