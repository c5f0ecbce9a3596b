"""Which QMP is spoken here."""

from __future__ import annotations

from typing import Annotated

from bimetal.base.late import late
from bimetal.control.contract import Answer

__all__ = ["PROTOCOL", "Triple", "package"]


class Triple(Answer):
    """A version of QEMU."""

    major: Annotated[int, "the first number"]
    minor: Annotated[int, "the second number"]
    micro: Annotated[int, "the third number"]


PROTOCOL = Triple(major=9, minor=2, micro=0)
"""Commands, events and their fields are those of this version, as far as they are there. libvirt
12.4 refuses versions below 7.2, and OpenStack's Nova warns of those below 8.2.2."""


def package() -> str:
    """This program and its version."""
    return f"bimetal-{late('importlib.metadata:version')('bimetal')}"
