"""A plan is carried out: storage is made, the machine defined, and started for the first time."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bimetal.base.errors import BimetalError
from bimetal.base.late import late
from bimetal.control.definition import Definition
from bimetal.control.installing.disks import make_disks
from bimetal.control.installing.media import inject, kernel_in
from bimetal.control.installing.planning import Plan
from bimetal.control.installing.seed import make_seed
from bimetal.control.known import Known
from bimetal.control.machines import Machines

__all__ = ["carry_out", "first_start", "folder_of", "forget_first_start"]


def carry_out(machines: Machines, plan: Plan, *, transient: bool = False) -> Known:
    """Make what is planned, and start it. The definition that is kept starts what was installed;
    the first start is from the media. What was made is removed again if that fails before the
    machine is defined. Raises `BimetalError`."""
    name = plan.definition.name
    if any(each.name == name for each in machines):
        raise BimetalError(f"Guest name {name!r} is already in use.", "choose another: --name", 64)
    own = folder_of(machines, name)
    machines.places.prepare(machines.places.state(name))
    with ExitStack() as undo:
        undo.callback(forget_first_start, machines, name)
        first = first_start(plan, own)
        make_disks([*plan.disks])
        for disk in plan.disks:
            if disk.is_new:
                undo.callback(Path(disk.part.path).unlink, missing_ok=True)
        if plan.seed:
            machines.places.prepare(own)
            make_seed(plan.seed, own / "seed.iso")
        if transient:
            known = machines.create(_text(first))
        else:
            machines.define_values(_kept(plan))
        undo.pop_all()
    if transient:
        return known
    if first == _kept(plan):
        return machines.start(name)
    return machines.create(_text(first))


def folder_of(machines: Machines, name: str) -> Path:
    """Where what only the first start of a machine needs is kept, passwords among it."""
    return machines.places.state(name) / "install"


def forget_first_start(machines: Machines, name: str) -> None:
    """Remove what only the first start of a machine needed, which is over."""
    late("shutil:rmtree")(folder_of(machines, name), ignore_errors=True)


def first_start(plan: Plan, folder: Path) -> Definition:
    """The definition for the first start: with the media in the drives, or with the kernel of the
    installer, and off at its end, when the guest wants to start anew. That kernel is started by
    UEFI where the machine has it: what is installed is made known to firmware that is there."""
    values = {**_seeded(plan, folder)}
    if plan.installs:
        values["reboot"] = False
    if plan.location:
        isa = late("bimetal.control.known_boards:board_named")(plan.definition.board).isa
        kernel, initrd = kernel_in(plan.location, folder, isa)
        if plan.injected:
            initrd = inject(initrd, plan.injected, folder)
        values.update(kernel=kernel, initrd=initrd, bios=None)
    if plan.extra:
        values["append"] = " ".join(filter(None, (plan.definition.append, plan.extra)))
    return replace(plan.definition, **values)  # type: ignore[arg-type]  # of the types just chosen


def _kept(plan: Plan) -> Definition:
    """The definition that is kept: nothing is in the drives any more from which it was
    installed."""
    if not plan.installs:
        return plan.definition
    disks = tuple(replace(disk, path="") if disk.cdrom else disk for disk in plan.definition.disks)
    return replace(plan.definition, disks=disks)


def _seeded(plan: Plan, folder: Path) -> dict[str, object]:
    """The disks with the seed in its drive."""
    if not plan.seed:
        return {}
    place = os.fspath(folder / "seed.iso")
    return {
        "disks": tuple(
            replace(disk, path=place) if disk.target == plan.seed_target else disk
            for disk in plan.definition.disks
        )
    }


def _text(definition: Definition) -> str:
    return str(late("bimetal.control.domain_xml.writing:write_definition")(definition))
