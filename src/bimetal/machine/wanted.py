"""Devices that a user wants a machine to have besides its disks, checked as far as possible."""

from __future__ import annotations

from dataclasses import dataclass

from bimetal.backends.share.owners import MAPPED, NONE, SECURITY_MODELS
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from

__all__ = ["RAMFB", "VIDEOS", "SerialPort", "Share", "Video", "Vsock"]

TAG_LIMIT = 31
"""Bytes of a tag: what drivers of Linux before 6.10 have room for."""

NAME_LIMIT = 127
PLACES = ("unix", "tcp", "file")
"""Kinds of places to which a port may lead: a terminal is the console's."""

RAMFB = "ramfb"
VIDEOS = (RAMFB,)
"""Kinds of display devices."""


@dataclass(frozen=True)
class Share:
    """A folder of the host that the guest mounts by the name ``tag``.

    ``security`` says how owners and modes of the guest's files are kept; "" chooses
    ``mapped-xattr``, or ``none`` for a folder that is only read.
    """

    path: str
    tag: str
    readonly: bool = False
    security: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            raise BimetalError("a share needs the path of a folder", "give one", ExitCode.USAGE)
        plain = self.tag.isascii() and self.tag.isprintable() and "," not in self.tag
        if not self.tag or not plain or len(self.tag) > TAG_LIMIT:
            raise BimetalError(
                f"{self.tag!r} is no tag by which a guest could mount a folder",
                f"use 1 to {TAG_LIMIT} letters, digits and signs, and no comma",
                ExitCode.USAGE,
            )
        if self.security and self.security not in SECURITY_MODELS:
            raise BimetalError(
                f"there is no security model {self.security!r}",
                choose_from(self.security, SECURITY_MODELS),
                ExitCode.USAGE,
            )

    @property
    def model(self) -> str:
        """The security model in force."""
        return self.security or (NONE if self.readonly else MAPPED)


@dataclass(frozen=True)
class Vsock:
    """Sockets between guest and host: the guest has the context ``cid``, and its ports are reached
    by the Unix socket at ``path``."""

    path: str
    cid: int = 3

    def __post_init__(self) -> None:
        if not self.path:
            raise BimetalError("a vsock needs the path of a socket", "give one", ExitCode.USAGE)
        if not 3 <= self.cid < 0xFFFF_FFFF:
            raise BimetalError(
                f"a guest cannot have the context {self.cid}",
                f"choose a number from 3 to {0xFFFF_FFFE}",
                ExitCode.USAGE,
            )


@dataclass(frozen=True)
class SerialPort:
    """A line between a program in the guest, which knows it by ``name``, and ``where``, a place as
    `bimetal.backends.chars.choose` knows it."""

    name: str
    where: str

    def __post_init__(self) -> None:
        plain = self.name.isascii() and self.name.isprintable() and "/" not in self.name
        if not self.name or not plain or len(self.name) > NAME_LIMIT:
            raise BimetalError(
                f"{self.name!r} is no name of a port",
                f"use 1 to {NAME_LIMIT} letters, digits and signs, and no '/'",
                ExitCode.USAGE,
            )
        if self.where.partition(":")[0] not in PLACES:
            raise BimetalError(
                f"a port cannot lead to {self.where!r}",
                "write unix:PATH, tcp:HOST:PORT or file:PATH",
                ExitCode.USAGE,
            )


@dataclass(frozen=True)
class Video:
    """A display device, of a ``kind`` in `VIDEOS`."""

    kind: str

    def __post_init__(self) -> None:
        if self.kind not in VIDEOS:
            raise BimetalError(
                f"there is no display device {self.kind!r}",
                choose_from(self.kind, VIDEOS),
                ExitCode.USAGE,
            )
