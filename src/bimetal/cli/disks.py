"""The value of ``--disk``: a path and, behind commas, what kind of disk it makes."""

from __future__ import annotations

from msgspec import Struct

from bimetal.cli.words import Form

__all__ = ["FORM", "DiskOption", "parse_disk"]

FORM = (
    "PATH[,format=raw|qcow2|vdi|vhdx|vmdk|vpc][,readonly][,snapshot][,serial=TEXT]"
    "[,bus=virtio|scsi|usb][,removable][,port=N.N][,queues=N][,iops=N][,bps=SIZE]"
)

NUMBERS = ("queues", "iops")
TEXTS = ("format", "serial", "bus", "port", *NUMBERS, "bps")

_FORM = Form("--disk", FORM, "the path of an image", ("readonly", "snapshot", "removable"), TEXTS)


class DiskOption(Struct, frozen=True):
    """A disk as asked for on the command line: a path, and the options of `Machine.disk`."""

    path: str
    format: str | None = None
    readonly: bool = False
    snapshot: bool = False
    serial: str = ""
    bus: str = "virtio"
    queues: int = 1
    iops: int = 0
    bps: str = "0"
    removable: bool = False
    port: str = ""


def parse_disk(text: str) -> DiskOption:
    """Read what `FORM` shows. Raises `BimetalError` for anything else."""
    path, options = _FORM.read(text)
    values: dict[str, str | bool | int] = {**options}
    for name in NUMBERS:
        if name in options:
            number = str(options[name])
            if not (number.isascii() and number.isdecimal()):
                raise _FORM.refused(f"{name}={number} is no number, in --disk {text}")
            values[name] = int(number)
    return DiskOption(path, **values)  # type: ignore[arg-type]  # of the types just chosen
