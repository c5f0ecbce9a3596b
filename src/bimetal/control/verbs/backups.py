"""Verbs for backups of the disks of a machine that runs: pushed into files, or fetched by somebody
(`live-disks.md`), of all or of what has changed since a checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bimetal.backends.turns import turn
from bimetal.base.clock import wall_seconds
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.paths import remove_file
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.places import write_whole
from bimetal.control.verbs.checkpoints import actions_of, begun_with, chosen, noted
from bimetal.control.verbs.documents import read_document
from bimetal.control.verbs.registry import DOCUMENT, HOST, IN_ORDER, Domain
from bimetal.control.verbs.seats import LiveDisk, live_disks

if TYPE_CHECKING:
    from bimetal.control.conversation import Conversation
    from bimetal.control.domain_xml.backups import BackupDisk, BackupOrder

__all__ = ["JobFacts", "backup_begin", "backup_dumpxml", "domjobabort", "domjobinfo"]

XML = "bimetal.control.domain_xml.backups"
JOB, BACKUP, LIMIT = "backup-", "Backup", 1 << 20

Order = Annotated[str, "libvirt's XML of the backup: of all disks, beside them, without", DOCUMENT,
                  IN_ORDER]  # fmt: skip
Moment = Annotated[str, "libvirt's XML of a checkpoint to make at the same moment", DOCUMENT,
                   IN_ORDER]  # fmt: skip


@dataclass(frozen=True)
class JobFacts:
    """What is being done to a machine, "" for nothing: since when, in ms, and how many bytes are
    done, of how many; or why the last backup has failed."""

    operation: str = ""
    elapsed: int = 0
    processed: int = 0
    total: int = 0
    error: str = ""


@dataclass(frozen=True)
class _Begun:
    """A backup that was begun: its document, when, in ms, its ``jobs``, which nobody else has, and
    the files that were ``made`` for it. If it is ``fetched``, its jobs are called as the nodes of
    the files that are served, all of which are to be gone at its end. If it was pushed and is over,
    it has no jobs; ``error`` says why it has failed. ``begins`` is so as long as a client is at it:
    if none is any more, and there are no jobs, it was killed before there were."""

    xml: str
    began: int
    jobs: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    fetched: bool = False
    error: str = ""
    begins: bool = False


@HOST.command("backup-begin")
def backup_begin(
    machines: Machines,
    domain: Domain,
    backupxml: Order = "",
    checkpointxml: Moment = "",
    reuse_external: Annotated[bool, "the files are there already, as large as the disks"] = False,
) -> None:
    """Begin a backup of disks of a machine that runs, as they are now. Files get it, or, with
    mode=pull, clients fetch it by NBD until domjobabort."""
    known = machines.running(domain)
    order = late(f"{XML}:read_backup")(
        read_document(backupxml) if backupxml else "<domainbackup/>"
    )  # fmt: skip
    with turn(machines.places.state(known.name)):
        _begin(machines, known, order, checkpointxml, reuse=reuse_external)


def _begin(
    machines: Machines, known: Known, order: BackupOrder, checkpointxml: str, *, reuse: bool
) -> None:
    disks = live_disks(machines, known)
    if _look(machines, known).jobs:
        raise BimetalError(
            "Requested operation is not valid: a backup is under way",
            "wait for its end, or give it up: bimetal domjobabort",
            ExitCode.UNAVAILABLE,
        )
    order = _completed(order, disks)
    checkpoint, moment = None, list[dict[str, Any]]()
    if checkpointxml:
        name, said, wanted = late(f"{XML}:read_checkpoint")(read_document(checkpointxml))
        taking_part = chosen(disks, wanted)
        checkpoint = noted(machines, known, name, said, taking_part)
        moment = actions_of(checkpoint, taking_part)
    with ExitStack() as undo:
        made = _make_files(machines, known, order, disks, undo, reuse=reuse)
        begun = _Begun(
            late(f"{XML}:backup_xml")(order),
            wall_seconds() * 1000,
            tuple(f"{JOB}{each.target}-{os.urandom(4).hex()}" for each in order.disks or ()),
            tuple(made),
            order.pull,
            begins=not order.pull,
        )
        begin = _pull if order.pull else _push
        begun_with(machines, known, checkpoint,
                   lambda: begin(machines, known, begun, order, disks, moment))  # fmt: skip
        undo.pop_all()


@HOST.command("backup-dumpxml", safe=True)
def backup_dumpxml(machines: Machines, domain: Domain) -> str:
    """Tell of the backup that is under way, as libvirt's XML."""
    known = machines.running(domain)
    begun = _begun(machines, known)
    if not _running(machines, known, begun):
        raise BimetalError(
            "Domain backup job id not found: no domain backup job present",
            "begin one: bimetal backup-begin",
            ExitCode.USAGE,
        )
    return begun.xml


@HOST.command("domjobinfo")
def domjobinfo(machines: Machines, domain: Domain) -> JobFacts:
    """Tell how far the backup of a machine is that is under way, or why the last one has failed,
    of which nothing is left then."""
    known = machines.running(domain)
    begun = _begun(machines, known)
    jobs = _running(machines, known, begun)
    if not jobs:
        return JobFacts(error=begun.error)
    elapsed = wall_seconds() * 1000 - begun.began
    done, total = (sum(int(job[each]) for job in jobs) for each in ("offset", "len"))
    return JobFacts(BACKUP, max(elapsed, 0), done, total)


@HOST.command("domjobabort")
def domjobabort(machines: Machines, domain: Domain) -> None:
    """Give up the backup of a machine that is under way, or end one that was fetched."""
    known = machines.running(domain)
    begun = _begun(machines, known)
    if not begun.jobs:
        raise BimetalError(
            "Requested operation is not valid: no job is active on the domain",
            "look: bimetal domjobinfo",
            ExitCode.USAGE,
        )
    _end(machines, known, begun)


# Parts of these


def _completed(order: BackupOrder, disks: Sequence[LiveDisk]) -> BackupOrder:
    """The backup with what was not said: all disks that the guest writes to, in files beside
    them. Raises `BimetalError` for disks that are not there."""
    disk_of = late(f"{XML}:BackupDisk")
    known = {each.target: each for each in disks if not each.readonly}
    wanted: Sequence[BackupDisk] = order.disks if order.disks is not None else [
        disk_of(target, since=order.since) for target in known]  # fmt: skip
    if not wanted:
        raise BimetalError(
            "unsupported configuration: no disk is selected for backup", "", ExitCode.USAGE
        )
    found: list[BackupDisk] = []
    names = [each.target for each in wanted]
    for each in wanted:
        if each.target not in known or names.count(each.target) > 1:
            raise BimetalError(
                f"invalid argument: no disk named '{each.target[:80]}', or it is there twice",
                f"choose from {', '.join(known)}",
                ExitCode.USAGE,
            )
        path = each.path or f"{known[each.target].top.path}.{wall_seconds()}"
        export, bitmap = each.export, each.bitmap
        if order.pull:
            export = export or each.target
            bitmap = bitmap or (f"{JOB}{each.target}" if each.since else "")
        found.append(each.filled(os.path.abspath(path), export, bitmap))
    return order.of(found)


def _make_files(
    machines: Machines,
    known: Known,
    order: BackupOrder,
    disks: Sequence[LiveDisk],
    undo: ExitStack,
    *,
    reuse: bool,
) -> list[str]:
    """Make the files of a backup, which ``undo`` removes, and hand all in; the paths of those that
    were made. What only gets what has changed, or is fetched from, lies on the disk."""
    below, made = {each.target: each.top for each in disks}, list[str]()
    for each in order.disks or ():
        top = below[each.target]
        if not reuse:
            if os.path.lexists(each.path):
                raise BimetalError(
                    f"invalid argument: {each.path} is there already",
                    "name another file, or say --reuse-external",
                    ExitCode.USAGE,
                )
            lies = order.pull or (each.since and each.format == "qcow2")
            options: dict[str, Any] = {}
            if lies:
                options = {"backing": top.path, "backing_format": top.format, "unsafe": True}
            late("bimetal.images:create")(each.path, top.size, format=each.format, **options)
            undo.callback(remove_file, each.path)
            made.append(each.path)
        machines.hand_in(known.name, each.path, readonly=False, format=each.format, alone=True)
    return made


def _push(
    machines: Machines,
    known: Known,
    begun: _Begun,
    order: BackupOrder,
    disks: Sequence[LiveDisk],
    moment: Sequence[dict[str, Any]],
) -> None:
    devices = {each.target: each.device for each in disks}
    actions = [*moment]
    for job, each in zip(begun.jobs, order.disks or (), strict=True):
        data: dict[str, Any] = {
            "device": devices[each.target],
            "target": each.path,
            "format": each.format,
            "mode": "existing",
            "sync": "bitmap" if each.since else "full",
            "job-id": job,
            "auto-dismiss": False,  # how it has ended says whether its file is one
        }
        if each.since:
            data |= {"bitmap": each.since, "bitmap-mode": "never"}
        actions.append({"type": "drive-backup", "data": data})
    try:
        _note(machines, known, begun)
        machines.ask(known.name, "transaction", actions=actions)
        _note(machines, known, replace(begun, begins=False))
    except BaseException:
        _end(machines, known, replace(begun, made=()))
        raise


def _pull(
    machines: Machines,
    known: Known,
    begun: _Begun,
    order: BackupOrder,
    disks: Sequence[LiveDisk],
    moment: Sequence[dict[str, Any]],
) -> None:
    devices = {each.target: each.device for each in disks}
    wanted = [*zip(begun.jobs, order.disks or (), strict=True)]
    address: dict[str, Any] = {"type": "inet", "data": {"host": order.host,
                               "port": str(order.port)}}  # fmt: skip
    if order.socket:
        address = {"type": "unix", "data": {"path": os.path.abspath(order.socket)}}
    # Not in what is undone: if there is a server already, it is somebody else's.
    machines.ask(known.name, "nbd-server-start", addr=address)
    try:
        _note(machines, known, begun)
        with machines.conversation(known.name) as talk:
            actions = [*moment]
            for node, each in wanted:
                device = devices[each.target]
                file = {"driver": "file", "filename": each.path}
                talk.ask("blockdev-add", driver="qcow2", node_name=node, file=file)
                actions += _changed(each, node, device)
                data = {"device": device, "target": node, "sync": "none", "job-id": node}
                actions.append({"type": "blockdev-backup", "data": data})
            talk.ask("transaction", actions=actions)
            for node, each in wanted:
                bitmaps = [each.bitmap] if each.since else []
                talk.ask("block-export-add", type="nbd", id=node, node_name=node,
                         name=each.export, bitmaps=bitmaps)  # fmt: skip
    except BaseException:
        _end(machines, known, replace(begun, made=()))
        raise


def _changed(disk: BackupDisk, node: str, device: str) -> list[dict[str, Any]]:
    """What a transaction does so that the image ``node`` tells what has changed."""
    if not disk.since:
        return []
    source = {"node": device, "name": disk.since}
    return [
        {
            "type": "block-dirty-bitmap-add",
            "data": {"node": node, "name": disk.bitmap, "disabled": True},
        },
        {
            "type": "block-dirty-bitmap-merge",
            "data": {"node": node, "target": disk.bitmap, "bitmaps": [source]},
        },
    ]


def _end(machines: Machines, known: Known, begun: _Begun) -> None:
    """End a backup, and what serves it; what is not there is gone already. Raises `BimetalError`
    only if the machine does not answer."""
    with machines.conversation(known.name) as talk:
        if begun.fetched:
            _ask(talk, "nbd-server-stop")
        for job in begun.jobs:
            if _ask(talk, "block-job-cancel", device=job, force=True):
                last = "null" if begun.fetched else "concluded"
                talk.wait_for("JOB_STATUS_CHANGE", 60.0, id=job, status=last)
            if begun.fetched:
                _ask(talk, "blockdev-del", node_name=job)
            else:
                _ask(talk, "job-dismiss", id=job)
    for path in begun.made:
        remove_file(path)
    _place(machines, known).unlink(missing_ok=True)


def _ask(talk: Conversation, command: str, **arguments: Any) -> bool:
    """Whether the machine does what it is asked for."""
    refusal: Any = late("bimetal.control.conversation:Refusal")
    try:
        talk.ask(command, **arguments)
    except refusal:
        return False
    return True


def _running(machines: Machines, known: Known, begun: _Begun) -> list[dict[str, Any]]:
    """The jobs of a backup that are under way."""
    jobs = machines.ask(known.name, "query-block-jobs") if begun.jobs else []
    return [job for job in jobs if job["device"] in begun.jobs and job["status"] != "concluded"]


def _begun(machines: Machines, known: Known) -> _Begun:
    """The backup that was begun last in this run of a machine. If it was pushed and is over, its
    jobs are gone, and so are its files if one of them is not whole."""
    if _noted(machines, known).begins:
        with turn(machines.places.state(known.name)):
            return _look(machines, known)
    return _look(machines, known)


def _look(machines: Machines, known: Known) -> _Begun:
    """The same, while nobody is beginning one."""
    begun = _noted(machines, known)
    if begun.fetched or not begun.jobs:
        return begun
    jobs = [job for job in machines.ask(known.name, "query-block-jobs")
            if job["device"] in begun.jobs]  # fmt: skip
    error = next((str(job["error"]) for job in jobs if "error" in job), "")
    if begun.begins and not jobs:
        error = "the client that was beginning it has ended"
    if not error and any(job["status"] != "concluded" for job in jobs):
        return begun
    if error:
        _end(machines, known, begun)
    else:
        with machines.conversation(known.name) as talk:
            for job in begun.jobs:
                _ask(talk, "job-dismiss", id=job)
    over = replace(begun, jobs=(), error=error, begins=False)
    _note(machines, known, over)
    return over


def _place(machines: Machines, known: Known) -> Path:
    return machines.places.backup(known.name)


def _note(machines: Machines, known: Known, begun: _Begun) -> None:
    told = {"run": known.id, **asdict(begun)}
    write_whole(_place(machines, known), json.dumps(told))


def _noted(machines: Machines, known: Known) -> _Begun:
    """What was written down of the last backup; of one without jobs, if there was none in this run
    of the machine: what an earlier run has left may be somebody else's by now."""
    place = _place(machines, known)
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if place.stat().st_size <= LIMIT:
            told = json.loads(place.read_text())
            if told.pop("run") == known.id:
                jobs, made = (tuple(map(str, told.pop(each))) for each in ("jobs", "made"))
                return _Begun(**told, jobs=jobs, made=made)
    return _Begun("", 0)
