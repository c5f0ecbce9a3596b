"""Where drives are in the tree of objects."""

from __future__ import annotations

__all__ = ["name_in", "qdev_of"]

BACKEND = "/virtio-backend"
"""What follows the name of a device that is a bridge to virtio, as QEMU has it."""


def qdev_of(id_: str, name: str) -> str:
    """The place of the drive ``name``, which a client has called ``id_`` unless that is ""."""
    return f"/machine/peripheral/{id_}{BACKEND}" if id_ else f"/machine/unattached/{name}"


def name_in(qdev: str) -> str:
    """What the drive at that place is called."""
    return qdev.removesuffix(BACKEND).rpartition("/")[2]
