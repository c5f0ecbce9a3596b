"""Parts of `Machine` that are imported when they are first used: nothing of them is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from bimetal.machine.core import MachineCore
from bimetal.machine.machine import Machine
from bimetal.machine.rare import RARE_PARTS


def members(*kinds: type) -> set[str]:
    """The names of what classes have, besides what all machines have."""
    lines = [each for kind in kinds for each in kind.__mro__ if each not in MachineCore.__mro__]
    names = {name for each in lines for name in vars(each)}
    return {name for name in names if not (name.startswith("__") and name.endswith("__"))}


def real(part: type) -> type:
    """The class in whose place a part is."""
    found: type = getattr(import_module(part.__module__), part.__name__)
    return found


@pytest.mark.parametrize("part", RARE_PARTS, ids=lambda part: part.__name__)
def test_a_part_has_what_the_class_has_in_whose_place_it_is(part: type) -> None:
    assert members(part) <= members(real(part)) <= members(*RARE_PARTS)


@pytest.mark.parametrize("part", RARE_PARTS, ids=lambda part: part.__name__)
def test_members_are_those_of_that_class(part: type) -> None:
    for name in members(part):
        ours, theirs = getattr(Machine, name), getattr(real(part), name)
        assert getattr(ours, "__func__", ours) is getattr(theirs, "__func__", theirs)


def test_a_machine_that_only_runs_imports_none_of_them() -> None:
    code = """
import sys
from bimetal import Machine
from bimetal.machine.rare import RARE_PARTS
with Machine("riscv-virt", accel="interp") as machine:
    print(sorted(sys.modules.keys() & {part.__module__ for part in RARE_PARTS}))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_members_are_assigned_to_as_those_of_that_class_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Machine("riscv-virt", accel="interp") as machine:
        with pytest.raises(AttributeError, match="no setter"):
            machine.memory = "64M"  # type: ignore[assignment, misc]
        theirs: object = machine.fork
        with monkeypatch.context() as patch:
            patch.setattr(machine, "fork", mine := object())
            assert vars(machine)["fork"] is machine.fork is mine
        assert machine.fork == theirs
