"""Verbs for backups of the disks of a machine that runs: pushed into files, or fetched by somebody
(`live-disks.md`), of all or of what has changed since a checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    done, of how many."""

    operation: str = ""
    elapsed: int = 0
    processed: int = 0
    total: int = 0


@dataclass(frozen=True)
class _Begun:
    """A backup that was begun: its document, when, in ms, and what is to be gone at its end."""

    xml: str
    began: int
    nodes: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()


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
    disks = live_disks(machines, known)
    earlier = _begun(machines, known)
    if _jobs(machines, known) or (earlier is not None and earlier.nodes):
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
        made = _make_files(machines, known, order, disks, undo, reuse=reuse_external)
        begin = partial(_pull, made=made) if order.pull else _push
        begun_with(machines, known, checkpoint,
                   lambda: begin(machines, known, order, disks, moment))  # fmt: skip
        undo.pop_all()


@HOST.command("backup-dumpxml", safe=True)
def backup_dumpxml(machines: Machines, domain: Domain) -> str:
    """Tell of the backup that is under way, as libvirt's XML."""
    known = machines.running(domain)
    begun = _begun(machines, known)
    if begun is None or not _jobs(machines, known):
        raise BimetalError(
            "Domain backup job id not found: no domain backup job present",
            "begin one: bimetal backup-begin",
            ExitCode.USAGE,
        )
    return begun.xml


@HOST.command("domjobinfo", safe=True)
def domjobinfo(machines: Machines, domain: Domain) -> JobFacts:
    """Tell how far the backup of a machine is that is under way."""
    known = machines.running(domain)
    jobs, begun = _jobs(machines, known), _begun(machines, known)
    if not jobs:
        return JobFacts()
    elapsed = wall_seconds() * 1000 - begun.began if begun else 0
    done, total = (sum(int(job[each]) for job in jobs) for each in ("offset", "len"))
    return JobFacts(BACKUP, max(elapsed, 0), done, total)


@HOST.command("domjobabort")
def domjobabort(machines: Machines, domain: Domain) -> None:
    """Give up the backup of a machine that is under way, or end one that was fetched."""
    known = machines.running(domain)
    begun = _begun(machines, known)
    jobs = _jobs(machines, known)
    if not jobs and (begun is None or not begun.nodes):
        raise BimetalError(
            "Requested operation is not valid: no job is active on the domain",
            "look: bimetal domjobinfo",
            ExitCode.USAGE,
        )
    _end(machines, known, begun, [str(job["device"]) for job in jobs])


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
    order: BackupOrder,
    disks: Sequence[LiveDisk],
    moment: Sequence[dict[str, Any]],
) -> None:
    devices = {each.target: each.device for each in disks}
    actions = [*moment]
    for each in order.disks or ():
        data: dict[str, Any] = {
            "device": devices[each.target],
            "target": each.path,
            "format": each.format,
            "mode": "existing",
            "sync": "bitmap" if each.since else "full",
            "job-id": f"{JOB}{each.target}",
        }
        if each.since:
            data |= {"bitmap": each.since, "bitmap-mode": "never"}
        actions.append({"type": "drive-backup", "data": data})
    machines.ask(known.name, "transaction", actions=actions)
    _note(machines, known, _Begun(late(f"{XML}:backup_xml")(order), wall_seconds() * 1000))


def _pull(
    machines: Machines,
    known: Known,
    order: BackupOrder,
    disks: Sequence[LiveDisk],
    moment: Sequence[dict[str, Any]],
    *,
    made: Sequence[str],
) -> None:
    devices = {each.target: each.device for each in disks}
    wanted = order.disks or ()
    begun = _Begun(
        late(f"{XML}:backup_xml")(order),
        wall_seconds() * 1000,
        tuple(f"{JOB}{each.target}" for each in wanted),
        tuple(made),
    )
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
            for each in wanted:
                node, device = f"{JOB}{each.target}", devices[each.target]
                file = {"driver": "file", "filename": each.path}
                talk.ask("blockdev-add", driver="qcow2", node_name=node, file=file)
                actions += _changed(each, node, device)
                data = {"device": device, "target": node, "sync": "none", "job-id": node}
                actions.append({"type": "blockdev-backup", "data": data})
            talk.ask("transaction", actions=actions)
            for each in wanted:
                node = f"{JOB}{each.target}"
                bitmaps = [each.bitmap] if each.since else []
                talk.ask("block-export-add", type="nbd", id=node, node_name=node,
                         name=each.export, bitmaps=bitmaps)  # fmt: skip
    except BaseException:
        _end(machines, known, replace(begun, scratch=()), begun.nodes)
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


def _end(machines: Machines, known: Known, begun: _Begun | None, jobs: Sequence[str]) -> None:
    """End a backup, and what serves it; what is not there is gone already. Raises `BimetalError`
    only if the machine does not answer."""
    refusal: Any = late("bimetal.control.conversation:Refusal")
    with machines.conversation(known.name) as talk:
        if begun is not None and begun.nodes:
            with suppress(refusal):
                talk.ask("nbd-server-stop")
        for job in jobs:
            with suppress(refusal):
                talk.ask("block-job-cancel", device=job, force=True)
                talk.wait_for("JOB_STATUS_CHANGE", 60.0, id=job, status="null")
        for node in begun.nodes if begun is not None else ():
            with suppress(refusal):
                talk.ask("blockdev-del", node_name=node)
    for path in begun.scratch if begun is not None else ():
        remove_file(path)
    _place(machines, known).unlink(missing_ok=True)


def _jobs(machines: Machines, known: Known) -> list[dict[str, Any]]:
    """The jobs of the backup that is under way."""
    jobs = machines.ask(known.name, "query-block-jobs")
    return [job for job in jobs if job["device"].startswith(JOB) and job["status"] != "concluded"]


def _place(machines: Machines, known: Known) -> Path:
    return machines.places.backup(known.name)


def _note(machines: Machines, known: Known, begun: _Begun) -> None:
    told: dict[str, Any] = {"run": known.id, "xml": begun.xml, "began": begun.began}
    told |= {"nodes": begun.nodes, "scratch": begun.scratch}
    write_whole(_place(machines, known), json.dumps(told))


def _begun(machines: Machines, known: Known) -> _Begun | None:
    """The backup that was begun last in this run of a machine; None if there was none: what an
    earlier run has left may be somebody else's by now."""
    place = _place(machines, known)
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if place.stat().st_size <= LIMIT:
            told = json.loads(place.read_text())
            if told["run"] != known.id:
                return None
            nodes, scratch = (tuple(map(str, told[each])) for each in ("nodes", "scratch"))
            return _Begun(str(told["xml"]), int(told["began"]), nodes, scratch)
    return None
