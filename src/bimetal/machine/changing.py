"""Which machines may go on with another kind of accelerator than the one they were saved with, with
what processor, and in what state. Our own accelerators are of one kind, and KVM of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.accel.choose import ENGINES, handover
from bimetal.accel.memory import Memory
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.board import find_board
from bimetal.machine.recipe import Recipe
from bimetal.machine.runner import Runner

__all__ = ["announced", "check_change", "model_for", "state_for"]

KVM = "kvm"


def announced(recipe: Recipe) -> str:
    """The processor that a machine's guest has found, by a name that is the same for all
    accelerators."""
    changes = handover(_isa(recipe))
    if changes is None:
        return recipe.model
    if recipe.accel == KVM:
        return recipe.model or "host"
    return str(changes.announced(recipe.model))


def model_for(recipe: Recipe, accel: str, path: str) -> str:
    """The processor model with which the accelerator of that name goes on with a machine that was
    saved to ``path``. Raises `BimetalError` if it has none like it."""
    changes = handover(_isa(recipe))
    if changes is None or (recipe.accel == KVM) == (accel not in ENGINES):
        return recipe.model
    if accel not in ENGINES:
        return announced(recipe)
    if not changes.is_common(recipe.model):
        common = changes.announced("")
        raise BimetalError(
            f"the guest in {path} has found KVM's processor {announced(recipe)!r}, which {accel} "
            "has not",
            f"start it with one that both have (--accel kvm --cpu {common}); or give it that "
            f"one now, which its programs may not expect (--restore FILE --cpu {common})",
            ExitCode.UNAVAILABLE,
        )
    return recipe.model


def check_change(recipe: Recipe, accel: str, path: str) -> None:
    """Raise `BimetalError` unless CPUs can go on with another accelerator."""
    if _changes(recipe.accel, accel) and handover(_isa(recipe)) is None:
        raise BimetalError(
            f"the machine in {path} ran on {recipe.accel}, and {accel} has other CPUs",
            f"restore it on {recipe.accel}",
            ExitCode.UNAVAILABLE,
        )


def state_for(manifest: Mapping[str, Any], runner: Runner) -> Mapping[str, Any]:
    """The state that a snapshot has, for the accelerator of ``runner``, whose memory is there
    already. Raises `BimetalError` for what that cannot hold."""
    state: Mapping[str, Any] = manifest["state"]
    accel, board = runner.accelerator.name, runner.hardware.handover
    if not _changes(str(state["runner"]["accel"]), accel):
        return state
    changes = handover(_isa(Recipe.of(manifest["machine"])))
    if changes is None or board is None:
        raise ValueError(f"the state of another kind of accelerator than {accel}")
    convert = changes.for_kernel if accel == KVM else changes.for_engines
    fresh = {each.device.name: each.device.save() for each in runner.hardware.placements}
    converted: Mapping[str, Any] = convert(
        state, fresh, Memory(runner.hardware.space.slots()), board
    )
    return converted


def _changes(saved_by: str, accel: str) -> bool:
    return (saved_by == KVM) != (accel == KVM)


def _isa(recipe: Recipe) -> str:
    return find_board(recipe.board)[0].isa
