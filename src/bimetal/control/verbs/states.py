"""Verbs for states that the qcow2 disks of a machine keep: of one that runs, with its memory; of
one that is off, of its disks alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

from bimetal.backends.lease import Lease
from bimetal.base.clock import local_text, wall_seconds
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.definition import UNWRITABLE, DiskPart
from bimetal.control.descriptions import Descriptions
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, IN_ORDER, Domain

__all__ = [
    "KeptLine",
    "snapshot_create_as",
    "snapshot_delete",
    "snapshot_dumpxml",
    "snapshot_list",
    "snapshot_revert",
]

Called = Annotated[str, "what the state is called"]


@dataclass(frozen=True)
class KeptLine:
    """A state that disks keep: its name, when it was made, by the clock of this place, what the
    machine did then, and what was said of it."""

    name: str
    made: str
    state: str = "running"
    description: str = ""


@HOST.command("snapshot-create-as")
def snapshot_create_as(
    machines: Machines,
    domain: Domain,
    name: Annotated[str, "what to call it; after this second if nothing is said", IN_ORDER] = "",
    description: Annotated[str, "what to say of it", IN_ORDER] = "",
    disk_only: Annotated[bool, "keep the disks alone, in the images that they have now"] = False,
    diskspec: Annotated[
        tuple[str, ...], "disks for that: vda,snapshot=external,file=PATH, or vda,snapshot=no"
    ] = (),
    atomic: Annotated[bool, "accepted: all is done or nothing"] = False,
    no_metadata: Annotated[bool, "accepted: images tell what they lie on"] = False,
    quiesce: Annotated[bool, "have an agent in the guest write what it has not written"] = False,
) -> str:
    """Keep the state of a machine, and of its disks, in its qcow2 disks; its name. Of a machine
    that is off the disks alone are kept. If only those are to be kept, their images stay what they
    are, and what the guest writes from then on goes to new ones."""
    known, name = machines.find(domain), name or str(wall_seconds())
    if quiesce:
        raise BimetalError(
            "argument unsupported: QEMU guest agent is not configured",
            "have the guest write what it has not written (sync, fsfreeze), and leave that away",
            ExitCode.USAGE,
        )
    if UNWRITABLE.search(description):
        raise BimetalError(
            f"{description[:60]!r} has a character that XML cannot have",
            "leave it away",
            ExitCode.USAGE,
        )
    if disk_only or diskspec:
        if description:
            raise BimetalError(
                "nothing is kept of disks alone of which something could be said",
                "leave --description away, or --disk-only",
                ExitCode.USAGE,
            )
        late("bimetal.control.verbs.overlays:lay_over_disks")(machines, known, name, diskspec)
        return name
    if known.runs:
        if any(each["name"] == name for each in machines.ask(known.name, "bimetal-snapshots")):
            raise _taken(name)
        machines.ask_patiently(known.name, "bimetal-snapshot-save", name=name, replace=False)
    else:
        _keep_disks(machines, known, name)
    _descriptions(machines, known).note(name, description)
    return name


def _keep_disks(machines: Machines, known: Known, name: str) -> None:
    """Keep the state of the disks of a machine that is off, in all of them or in none."""
    with _disks(machines, known) as disks:
        if any(each.name == name for each in _kept(disks[0])):
            raise _taken(name)
        done: list[DiskPart] = []
        try:
            for disk in disks:
                _images("create_snapshot")(disk.path, name, format=disk.format)
                done.append(disk)
        except BaseException:
            for disk in done:
                with suppress(BimetalError, OSError):
                    _images("delete_snapshot")(disk.path, name, format=disk.format)
            raise


def _taken(name: str) -> BimetalError:
    return BimetalError(
        f"domain snapshot {name} already exists", "choose another name", ExitCode.USAGE
    )


@HOST.command("snapshot-list", safe=True)
def snapshot_list(machines: Machines, domain: Domain) -> list[KeptLine]:
    """List the states that the disks of a machine keep."""
    known = machines.find(domain)
    said = _descriptions(machines, known)
    return [
        KeptLine(name, local_text(seconds), "running" if with_memory else "shutoff", said.of(name))
        for name, seconds, with_memory in _listed(machines, known)
    ]


@HOST.command("snapshot-dumpxml", safe=True)
def snapshot_dumpxml(machines: Machines, domain: Domain, snapshotname: Called) -> str:
    """Tell of a state that the disks of a machine keep, as libvirt's XML."""
    known = machines.find(domain)
    for name, seconds, with_memory in _listed(machines, known):
        if name == snapshotname:
            disks = [disk.target for disk in _writable(machines, known)]
            said = _descriptions(machines, known).of(name)
            write = late("bimetal.control.domain_xml.snapshots:snapshot_xml")
            return str(write(name, said, seconds, disks, with_memory=with_memory))
    raise _absent(snapshotname)


def _listed(machines: Machines, known: Known) -> list[tuple[str, int, bool]]:
    """The states that the disks of a machine keep: the name of each, the second in which it was
    made, and whether the machine's memory is there, too."""
    if known.runs:
        kept = machines.ask(known.name, "bimetal-snapshots")
        return [(each["name"], each["seconds"], True) for each in kept]
    disks = _writable(machines, known)
    found = _kept(disks[0]) if disks else []
    return [(each.name, each.seconds, bool(each.state_size)) for each in found]


def _descriptions(machines: Machines, known: Known) -> Descriptions:
    return Descriptions(machines.places.descriptions(known.name))


@HOST.command("snapshot-revert")
def snapshot_revert(machines: Machines, domain: Domain, snapshotname: Called) -> str:
    """Bring a machine and its disks to a state that was kept; its name. One that is off stays off,
    so that state must be of the disks alone."""
    known = machines.find(domain)
    if known.runs:
        machines.ask_patiently(known.name, "bimetal-snapshot-load", name=snapshotname)
        return snapshotname
    with _disks(machines, known) as disks:
        if any(_one(disk, snapshotname).state_size for disk in disks):
            raise BimetalError(
                f"{snapshotname} is a state of {known.name} while it ran",
                "start it first: bimetal start --paused",
                ExitCode.UNAVAILABLE,
            )
        for disk in disks:
            _images("apply_snapshot")(disk.path, snapshotname, format=disk.format)
    return snapshotname


@HOST.command("snapshot-delete")
def snapshot_delete(machines: Machines, domain: Domain, snapshotname: Called) -> str:
    """Forget a state that the disks of a machine keep; its name."""
    known = machines.find(domain)
    if known.runs:
        machines.ask_patiently(known.name, "bimetal-snapshot-delete", name=snapshotname)
    else:
        with _disks(machines, known) as disks:
            _one(disks[0], snapshotname)
            for disk in disks:
                if any(each.name == snapshotname for each in _kept(disk)):
                    _images("delete_snapshot")(disk.path, snapshotname, format=disk.format)
    _descriptions(machines, known).note(snapshotname, "")
    return snapshotname


@contextmanager
def _disks(machines: Machines, known: Known) -> Iterator[list[DiskPart]]:
    """The disks of a machine that is off, and cannot be started meanwhile. Raises `BimetalError` if
    they cannot keep states."""
    if known.saved:
        raise BimetalError(
            f"the state of {known.name} was saved and fits to its disks as they are",
            "start it, or forget that: bimetal managedsave-remove",
            ExitCode.UNAVAILABLE,
        )
    disks = _writable(machines, known)
    raw = [disk.target for disk in disks if not _is_qcow2(disk)]
    if raw or not disks:
        raise BimetalError(
            "unsupported configuration: internal snapshot is not supported: "
            + (f"{', '.join(raw)} are no qcow2 disks" if raw else f"{known.name} has no disk"),
            "convert them: bimetal image convert -O qcow2",
            ExitCode.USAGE,
        )
    machines.places.prepare(machines.places.state(known.name))
    lease = Lease.take(machines.places.lease(known.name))
    if lease is None:
        raise BimetalError(f"{known.name} runs by now", "try again", ExitCode.UNAVAILABLE)
    try:
        yield disks
    finally:
        lease.release()


def _writable(machines: Machines, known: Known) -> list[DiskPart]:
    """The disks that the guest writes."""
    disks = machines.definition(known.name).disks
    return [disk for disk in disks if not (disk.cdrom or disk.readonly or disk.snapshot)]


def _is_qcow2(disk: DiskPart) -> bool:
    return (disk.format or _images("information")(disk.path).format) == "qcow2"


def _kept(disk: DiskPart) -> list[Any]:
    kept: list[Any] = _images("snapshots")(disk.path, format=disk.format, shared=True)
    return kept


def _one(disk: DiskPart, name: str) -> Any:
    """The state of that name. Raises `BimetalError`."""
    for each in _kept(disk):
        if each.name == name:
            return each
    raise _absent(name)


def _absent(name: str) -> BimetalError:
    return BimetalError(
        f"Domain snapshot not found: no domain snapshot with matching name '{name[:80]}'",
        "look: bimetal snapshot-list",
        ExitCode.USAGE,
    )


def _images(name: str) -> Any:
    return late(f"bimetal.images:{name}")
