"""Verbs for checkpoints: moments since which it is noted what changes in the disks of a machine,
for backups of no more than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from bimetal.base.clock import local_text, wall_seconds
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.checkpoints import Checkpoint, Checkpoints
from bimetal.control.definition import UNWRITABLE
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, IN_ORDER, Domain
from bimetal.control.verbs.seats import LiveDisk, live_disks

__all__ = ["CheckpointFacts", "CheckpointLine", "checkpoint_create_as", "checkpoint_delete"]
__all__ += ["checkpoint_dumpxml", "checkpoint_info", "checkpoint_list", "checkpoint_parent"]
__all__ += ["begun_with", "chosen", "noted", "of_machine"]

Called = Annotated[str, "what the checkpoint is called"]
NAME_LIMIT = 1023


@dataclass(frozen=True)
class CheckpointLine:
    """A checkpoint: its name, when it was made, by the clock of this place, and what came before
    it, or ""."""

    name: str
    made: str
    parent: str = ""


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint of the machine ``domain``: what came before it, or "", and how many after it,
    next or at all."""

    name: str
    domain: str
    parent: str
    children: int
    descendants: int


@HOST.command("checkpoint-create-as")
def checkpoint_create_as(
    machines: Machines,
    domain: Domain,
    name: Annotated[str, "what to call it; after this second if nothing is said", IN_ORDER] = "",
    description: Annotated[str, "what to say of it", IN_ORDER] = "",
    diskspec: Annotated[tuple[str, ...], "disks: vda,checkpoint=bitmap, or vda,checkpoint=no"] = (),
) -> str:
    """Have what changes in the disks of a machine that runs from now on be noted; its name."""
    known = machines.running(domain)
    wanted = None
    if diskspec:
        wanted = dict(map(_spec, diskspec))
    disks = chosen(live_disks(machines, known), wanted)
    checkpoint = noted(machines, known, name, description, disks)
    with machines.conversation(known.name) as talk:
        begun_with(machines, known, checkpoint, lambda: talk.ask(
            "transaction", actions=actions_of(checkpoint, disks)))  # fmt: skip
    return checkpoint.name


@HOST.command("checkpoint-list", safe=True)
def checkpoint_list(machines: Machines, domain: Domain) -> list[CheckpointLine]:
    """List the checkpoints of a machine."""
    there = of_machine(machines, machines.find(domain))
    return [CheckpointLine(each.name, local_text(each.made), each.parent) for each in there]


@HOST.command("checkpoint-dumpxml", safe=True)
def checkpoint_dumpxml(machines: Machines, domain: Domain, checkpointname: Called) -> str:
    """Tell of a checkpoint, as libvirt's XML."""
    known = machines.find(domain)
    found = of_machine(machines, known)[checkpointname]
    disks = machines.definition(known.name).disks
    others = [each.target for each in disks if each.target not in found.disks]
    return str(late("bimetal.control.domain_xml.backups:checkpoint_xml")(found, others))


@HOST.command("checkpoint-info", safe=True)
def checkpoint_info(machines: Machines, domain: Domain, checkpointname: Called) -> CheckpointFacts:
    """Tell of a checkpoint what came before it, and after it."""
    known = machines.find(domain)
    there = of_machine(machines, known)
    found = there[checkpointname]
    children, all_ = there.children(found.name), there.descendants(found.name)
    return CheckpointFacts(found.name, known.name, found.parent, len(children), len(all_))


@HOST.command("checkpoint-parent", safe=True)
def checkpoint_parent(machines: Machines, domain: Domain, checkpointname: Called) -> str:
    """Tell which checkpoint came before another."""
    found = of_machine(machines, machines.find(domain))[checkpointname]
    if not found.parent:
        raise BimetalError(
            f"checkpoint '{found.name}' has no parent", "it is the first", ExitCode.USAGE
        )
    return found.parent


@HOST.command("checkpoint-delete")
def checkpoint_delete(
    machines: Machines,
    domain: Domain,
    checkpointname: Called,
    children: Annotated[bool, "and all that came after it"] = False,
    children_only: Annotated[bool, "not it, but all that came after it"] = False,
    metadata: Annotated[bool, "forget it, and leave the dirty bitmaps in the disks"] = False,
) -> str:
    """Forget a checkpoint of a machine that runs: what has changed since then is known no more; its
    name."""
    known = machines.find(domain)
    there = of_machine(machines, known)
    found = there[checkpointname]
    gone = [each.name for each in there.descendants(found.name)] if (
        children or children_only) else []  # fmt: skip
    gone = [*reversed(gone), *([] if children_only else [found.name])]
    if not metadata:
        known = machines.running(domain)
    for name in gone:
        if not metadata:
            _remove_bitmaps(machines, known, name)
        there.remove(name)
    return found.name


# What backups use


def of_machine(machines: Machines, known: Known) -> Checkpoints:
    """The checkpoints of a machine."""
    return Checkpoints(machines.places.checkpoints(known.name))


def chosen(disks: Sequence[LiveDisk], wanted: Mapping[str, bool] | None) -> list[LiveDisk]:
    """The disks of a checkpoint: those that are ``wanted``, or all that the guest writes to. Raises
    `BimetalError`."""
    known = {each.target: each for each in disks if not each.readonly}
    for target in wanted or ():
        if target not in known:
            raise BimetalError(
                f"invalid argument: no disk named '{target[:80]}'",
                f"choose from {', '.join(known)}",
                ExitCode.USAGE,
            )
    found = [known[target] for target, yes in wanted.items() if yes] if wanted is not None else [
        *known.values()]  # fmt: skip
    if not found:
        raise BimetalError(
            "unsupported configuration: no disk is selected for checkpoint", "", ExitCode.USAGE
        )
    return found


def noted(
    machines: Machines, known: Known, name: str, description: str, disks: Sequence[LiveDisk]
) -> Checkpoint:
    """A new checkpoint, which is not kept yet. Raises `BimetalError` if it cannot be."""
    name, there = name or str(wall_seconds()), of_machine(machines, known)
    if UNWRITABLE.search(name + description) or len(name.encode(errors="replace")) > NAME_LIMIT:
        raise BimetalError(
            f"a checkpoint cannot be called {name[:60]!r}", "use letters", ExitCode.USAGE
        )
    if name in there:
        raise BimetalError(
            f"domain checkpoint {name} already exists", "choose another name", ExitCode.USAGE
        )
    targets = tuple(each.target for each in disks)
    return Checkpoint(name, wall_seconds(), there.current, description, targets)


def actions_of(checkpoint: Checkpoint, disks: Sequence[LiveDisk]) -> list[dict[str, Any]]:
    """What a transaction does for a checkpoint."""
    return [
        {
            "type": "block-dirty-bitmap-add",
            "data": {"node": each.device, "name": checkpoint.name, "persistent": True},
        }
        for each in disks
    ]


def begun_with(
    machines: Machines, known: Known, checkpoint: Checkpoint | None, begin: Callable[[], object]
) -> None:
    """Keep a checkpoint, and ``begin``, which makes its bitmaps: in this order, so that none is
    there of which nobody knows. If that is refused, it is not kept."""
    if checkpoint is None:
        begin()
        return
    there = of_machine(machines, known)
    there.add(checkpoint)
    refusal: Any = late("bimetal.control.conversation:Refusal")
    try:
        begin()
    except refusal:
        there.remove(checkpoint.name)
        raise


def _remove_bitmaps(machines: Machines, known: Known, name: str) -> None:
    """Have no disk of a machine that runs have a bitmap of that name."""
    actions = [
        {"type": "block-dirty-bitmap-remove", "data": {"node": each.device, "name": name}}
        for each in live_disks(machines, known)
        if name in each.bitmaps
    ]
    if actions:
        machines.ask(known.name, "transaction", actions=actions)


def _spec(text: str) -> tuple[str, bool]:
    target, _, word = text.partition(",")
    if word not in ("", "checkpoint=bitmap", "checkpoint=no"):
        raise BimetalError(
            f"invalid argument: unknown word {word[:80]!r} of a disk",
            "write vda,checkpoint=bitmap, or vda,checkpoint=no",
            ExitCode.USAGE,
        )
    return target, word != "checkpoint=no"
