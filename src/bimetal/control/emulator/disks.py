"""Options for disks: images by themselves (``-blockdev``), and with what they are in (``-drive``).

Caches of the host, and how it is asked to read and write, mean nothing to a guest: what it was told
is safe, is safe whatever they are.
"""

from __future__ import annotations

from typing import Any

from bimetal.control.emulator.grammar import FALSE, TRUE, Words, read_words, wrong
from bimetal.control.emulator.order import DriveAt, Order
from bimetal.machine.config import ENOSPC, POLICIES

__all__ = ["RERROR", "WERROR", "read_blockdev", "read_cdrom", "read_disk", "read_drive"]
__all__ += ["read_policy", "read_snapshot"]

WERROR, RERROR = "werror", "rerror"
"""What is done about errors of the host when something is written, or read."""

INTERFACES = ("virtio", "scsi", "none", "pflash", "ide", "sd")
USUAL = "virtio"
HOW_THE_HOST_IS_ASKED = ("cache", "aio", "l2-cache-size")


def read_blockdev(order: Order, option: str, value: str) -> None:
    """An image, which a device or another one refers to by the name of its node. What may be said
    is what ``blockdev-add`` takes."""
    values = _typed(read_words(option, value, "driver").rest())
    order.nodes.append(values)


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Words of a list as JSON would have them."""
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            typed[name] = _typed(value)
        elif name.endswith(("read-only", "direct", "no-flush")) and value in (*TRUE, *FALSE):
            typed[name] = value in TRUE
        else:
            typed[name] = value
    return typed


def read_drive(order: Order, option: str, value: str) -> None:
    """An image, and what it is in."""
    order.drives.append(_drive(order, read_words(option, value)))


def read_disk(order: Order, option: str, value: str) -> None:
    """The image of a disk of the kind that machines usually have."""
    order.drives.append(DriveAt(value))


def read_cdrom(order: Order, option: str, value: str) -> None:
    """The image in a CD-ROM drive."""
    order.drives.append(DriveAt(value, cdrom=True, readonly=True))


def read_snapshot(order: Order, option: str, value: str) -> None:
    """What the guest writes to disks is forgotten at the end."""
    order.snapshot = True


def read_policy(words: Words, name: str, usual: str) -> str:
    """What ``name`` says is done about errors of the host. Raises `BimetalError`."""
    policies = (*POLICIES, ENOSPC) if name == WERROR else POLICIES
    policy = words.text(name, usual)
    if policy not in (*policies, usual):
        remedy = f"choose from {', '.join(policies)}"
        raise wrong(words.option, f"{name}={policy[:80]} is not there", remedy)
    return policy


def _drive(order: Order, words: Words) -> DriveAt:
    interface = words.text("if", USUAL)
    if interface not in INTERFACES[:4]:
        raise wrong(words.option, f"if={interface[:80]} is not there", "write if=virtio")
    media = words.text("media", "disk")
    if media not in ("disk", "cdrom"):
        raise wrong(words.option, f"media={media[:80]} is not there", "write disk or cdrom")
    readonly = words.switch("readonly") or words.switch("read-only")
    drive = DriveAt(
        path=words.text("file"),
        id=words.text("id"),
        interface=interface,
        format=words.text("format") or None,
        cdrom=media == "cdrom",
        readonly=readonly or media == "cdrom",
        snapshot=words.switch("snapshot"),
        unit=words.number("unit", words.number("index", -1, -1), -1, 64),
        serial=words.text("serial"),
        write_errors=read_policy(words, WERROR, "enospc"),
        read_errors=read_policy(words, RERROR, "report"),
    )
    words.ignore(*HOW_THE_HOST_IS_ASKED)
    words.only("discard", "unmap", "on", "ignore", "off")
    words.only("detect-zeroes", "off")
    words.finish()
    if not drive.path and not drive.cdrom:
        raise wrong(words.option, "there is no file", "add file=")
    if interface == "pflash" and drive.unit > 1:
        raise wrong(words.option, f"unit={drive.unit}: there are two", "write unit=0 or unit=1")
    return drive
