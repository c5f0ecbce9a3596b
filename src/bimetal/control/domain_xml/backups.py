"""Backups and checkpoints, as libvirt's XML (formatbackup, formatcheckpoint)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lxml import etree
from msgspec import Struct
from msgspec.structs import replace

from bimetal.control.checkpoints import Checkpoint
from bimetal.control.domain_xml.parsing import (
    Element,
    attribute,
    choice,
    number,
    parse,
    refused,
    text_of,
    unknown,
)
from bimetal.control.domain_xml.writing import document

__all__ = ["BackupDisk", "BackupOrder", "backup_xml", "checkpoint_xml", "read_backup"]
__all__ += ["read_checkpoint"]

PUSH, PULL = "push", "pull"
FORMATS = ("qcow2", "raw")


class BackupDisk(Struct, frozen=True):
    """A disk to be backed up, by its ``target``: to the file at ``path``, or with that to make room
    in, of a ``format``; ``since`` a checkpoint, or all of it for "". Clients find it as ``export``,
    and what has changed as ``bitmap``; see `backup_disks` for what "" means."""

    target: str
    path: str = ""
    format: str = "qcow2"
    since: str = ""
    export: str = ""
    bitmap: str = ""

    def filled(self, path: str, export: str, bitmap: str) -> BackupDisk:
        """The disk with what was not said of it."""
        return replace(self, path=path, export=export, bitmap=bitmap)


class BackupOrder(Struct, frozen=True):
    """A backup: ``pull`` if somebody fetches it, at the Unix ``socket``, or the port ``port`` of
    ``host``; of ``disks``, or, for None, of all; since a checkpoint, unless a disk says another."""

    pull: bool = False
    since: str = ""
    socket: str = ""
    host: str = ""
    port: int = 0
    disks: tuple[BackupDisk, ...] | None = None

    def of(self, disks: Iterable[BackupDisk]) -> BackupOrder:
        """The backup of ``disks``."""
        return replace(self, disks=tuple(disks))


def read_backup(text: str | bytes) -> BackupOrder:
    """The backup that a document asks for. Raises `BimetalError`."""
    root = parse(text, "domainbackup")
    order = BackupOrder(pull=choice(root, "mode", (PUSH, PULL), PUSH) == PULL)
    for each in root:
        match str(each.tag):
            case "incremental":
                order = replace(order, since=text_of(each))
            case "server" if order.pull:
                order = _with_server(order, each)
            case "disks":
                found = [_disk(disk, order) for disk in each]
                order = order.of(disk for disk in found if disk is not None)
            case _:
                raise unknown(each, ("incremental", "server", "disks"))
    if order.pull and not (order.socket or order.port):
        raise refused(root, "a backup that is fetched needs a <server>", "name its socket, or port")
    return order


def _with_server(order: BackupOrder, server: Element) -> BackupOrder:
    if choice(server, "tls", ("no",), "no") and choice(
        server, "transport", ("tcp", "unix"), "tcp"
    ) == "unix":  # fmt: skip
        return replace(order, socket=attribute(server, "socket"))
    host, port = str(server.get("name", "localhost")), str(server.get("port", "10809"))
    return replace(order, host=host, port=number(server, port))


def _disk(disk: Element, order: BackupOrder) -> BackupDisk | None:
    """A disk that is to be backed up; None for one that is not."""
    if disk.tag != "disk":
        raise unknown(disk, ("disk",))
    if choice(disk, "backup", ("yes", "no"), "yes") == "no":
        return None
    choice(disk, "type", ("file",), "file")
    mode = choice(disk, "backupmode", ("full", "incremental"), "incremental")
    since = str(disk.get("incremental", order.since)) if mode == "incremental" else ""
    found = BackupDisk(
        attribute(disk, "name"),
        since=since,
        export=str(disk.get("exportname", "")),
        bitmap=str(disk.get("exportbitmap", "")),
    )
    place = "scratch" if order.pull else "target"
    for each in disk:
        if each.tag == place:
            found = replace(found, path=attribute(each, "file"))
        elif each.tag == "driver" and not order.pull:
            found = replace(found, format=choice(each, "type", FORMATS, "qcow2"))
        else:
            raise unknown(each, (place, "driver"))
    return found


def backup_xml(order: BackupOrder) -> str:
    """The document of a backup."""
    root = etree.Element("domainbackup", mode=PULL if order.pull else PUSH)
    if order.since:
        etree.SubElement(root, "incremental").text = order.since
    if order.socket:
        etree.SubElement(root, "server", transport="unix", socket=order.socket)
    elif order.pull:
        etree.SubElement(root, "server", transport="tcp", name=order.host, port=str(order.port))
    disks = etree.SubElement(root, "disks")
    for each in order.disks or ():
        said = {"name": each.target, "backup": "yes", "type": "file"}
        said["backupmode"] = "incremental" if each.since else "full"
        more = {"incremental": each.since, "exportname": each.export, "exportbitmap": each.bitmap}
        disk = etree.SubElement(disks, "disk", {**said, **{k: v for k, v in more.items() if v}})
        etree.SubElement(disk, "driver", type=each.format)
        etree.SubElement(disk, "scratch" if order.pull else "target", file=each.path)
    return document(root)


def read_checkpoint(text: str | bytes) -> tuple[str, str, dict[str, bool] | None]:
    """The name of the checkpoint that a document asks for, or "", what it says of it, and which
    disks take part, by their targets, if it says that. Raises `BimetalError`."""
    root = parse(text, "domaincheckpoint")
    name, description, disks = "", "", None
    for each in root:
        match str(each.tag):
            case "name":
                name = text_of(each)
            case "description":
                description = text_of(each)
            case "disks":
                kinds = ("bitmap", "no")
                disks = {
                    attribute(disk, "name"): choice(disk, "checkpoint", kinds, "bitmap") == "bitmap"
                    for disk in each
                }
            case "parent" | "creationTime" | "domain":
                pass  # what a document says that somebody was told before
            case _:
                raise unknown(each, ("name", "description", "disks"))
    return name, description, disks


def checkpoint_xml(checkpoint: Checkpoint, others: Sequence[str]) -> str:
    """The document of a checkpoint, in which disks of the targets ``others`` have no part."""
    root = etree.Element("domaincheckpoint")
    etree.SubElement(root, "name").text = checkpoint.name
    if checkpoint.description:
        etree.SubElement(root, "description").text = checkpoint.description
    if checkpoint.parent:
        above = etree.SubElement(root, "parent")
        etree.SubElement(above, "name").text = checkpoint.parent
    etree.SubElement(root, "creationTime").text = str(checkpoint.made)
    disks = etree.SubElement(root, "disks")
    for target in checkpoint.disks:
        etree.SubElement(disks, "disk", name=target, checkpoint="bitmap", bitmap=checkpoint.name)
    for target in others:
        etree.SubElement(disks, "disk", name=target, checkpoint="no")
    return document(root)
