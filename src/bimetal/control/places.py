"""Where definitions of machines lie, and what is known of those that run.

    CONFIG/machines/NAME.xml        the definition
    STATE/machines/NAME/lease       held by the process that runs the machine, as long as it does
    STATE/machines/NAME/state.json  what that process says of it
    STATE/machines/NAME/xml         what it was started as
    DATA/images                     images of disks that were made for machines
    STATE/machines/NAME/log         what it has printed
    STATE/machines/NAME/saved       the state with which it goes on at its next start
    STATE/machines/NAME/moves       images that its disks have gone on to since it was defined
    STATE/machines/NAME/checkpoints  moments since which it is noted what changes in its disks
    STATE/machines/NAME/backup  the backup of its disks that was begun last
    RUN/NAME/qmp                    the socket at which it listens, and those of its ports

The lease decides whether a machine runs; files that a process has left which is gone mean nothing,
and a process whose folder is gone, or elsewhere, is found by the mark on its lease.
RUN is the user's runtime folder, or else the folder with the lease: its path is in the state.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from bimetal.backends.lease import Lease, holder, marked
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import (
    check_private,
    config_home,
    data_home,
    make_private,
    runtime_home,
    state_home,
)
from bimetal.control.names import check_name

__all__ = ["Places", "write_over", "write_whole"]

SUFFIX = ".xml"
PATH_PART = 30
"""Characters of a path that have room in a mark, beside a checksum of all of it and a name."""

STATE_LIMIT = 1 << 16
"""Bytes of a state that are read: it has a few hundred."""


class Places:
    """The folders of the user, or those given."""

    def __init__(
        self, config: Path | None = None, state: Path | None = None, run: Path | None = None
    ):
        self.definitions = (config or config_home() / "bimetal") / "machines"
        self.states = (state or state_home() / "bimetal") / "machines"
        self.images = data_home() / "bimetal" / "images"
        home = runtime_home()
        self._run = run or (home / "bimetal" if home is not None and home.is_dir() else self.states)

    def definition(self, name: str) -> Path:
        """The file of a definition. Raises `BimetalError` for a name that cannot be."""
        check_name(name)
        return self.definitions / f"{name}{SUFFIX}"

    def state(self, name: str) -> Path:
        """The folder for what is known of a machine. Raises `BimetalError` as `definition`."""
        check_name(name)
        return self.states / name

    def lease(self, name: str) -> str:
        """The file whose lease the machine's process holds."""
        return str(self.state(name) / "lease")

    def saved(self, name: str) -> Path:
        """The file with the state of a machine that goes on with it at its next start."""
        return self.state(name) / "saved"

    def moves(self, name: str) -> Path:
        """The file with the images that disks of a machine have gone on to: see `moves`."""
        return self.state(name) / "moves"

    def descriptions(self, name: str) -> Path:
        """The file with what was said of states that disks keep: see `descriptions`."""
        return self.state(name) / "descriptions"

    def checkpoints(self, name: str) -> Path:
        """The file with the checkpoints of a machine: see `checkpoints`."""
        return self.state(name) / "checkpoints"

    def backup(self, name: str) -> Path:
        """The file with the backup of a machine that was begun last."""
        return self.state(name) / "backup"

    def run(self, name: str) -> Path:
        """The folder for the sockets of a machine that is about to run."""
        check_name(name)
        return self._run / name

    def defined(self) -> list[str]:
        """The names of the machines that are defined."""
        return [each.removesuffix(SUFFIX) for each in _files(self.definitions) if _is_xml(each)]

    def known(self) -> list[str]:
        """The names of machines that run, or did once."""
        return [each for each in _files(self.states) if not each.startswith(".")]

    def pid(self, name: str) -> int:
        """The process that runs a machine, 0 if none does."""
        return self.pid_among(name, self.marked())

    def pid_among(self, name: str, found: Mapping[str, int]) -> int:
        """The process that runs a machine, 0 if none does, where those are ``found`` that `marked`
        tells of: a folder may be another machine's, which somebody has called otherwise."""
        pid = found.get(name, 0) or holder(self.lease(name))
        return 0 if pid in found.values() and found.get(name) != pid else pid

    def marked(self) -> dict[str, int]:
        """The processes that run machines, wherever their folders are by now, by name."""
        return marked(self._mark)

    def mark(self, lease: Lease, name: str) -> None:
        """Have `marked` find the holder of the lease of a machine. Raises OSError."""
        lease.mark(f"{self._mark}{name}")

    @property
    def _mark(self) -> str:
        """What marks begin with, of machines whose folders were made here."""
        path = os.path.realpath(self.states)
        return f"{crc32(os.fsencode(path)):08x}{path[-PATH_PART:]}:"

    def state_of(self, name: str) -> Mapping[str, Any]:
        """What the process of a machine that runs says of it: nothing if it has not said it yet, or
        its file is damaged."""
        with suppress(OSError, ValueError, RecursionError):
            with open(self.state(name) / "state.json", "rb") as file:
                state = json.loads(file.read(STATE_LIMIT))
            if isinstance(state, dict):
                return state
        return {}

    def prepare(self, folder: Path) -> None:
        """Make a folder, and those above it, for the user alone. Raises `BimetalError`."""
        try:
            make_private(folder)
            check_private(folder)
        except OSError as error:
            raise BimetalError(
                f"the folder {folder} cannot be made: {error.strerror}",
                "make room, or correct its permissions",
                ExitCode.IO_ERROR,
            ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there wholly or as it was before, whatever happens. Raises
    `BimetalError`."""
    scratch = path.with_name(f".{path.name[-80:]}.{os.getpid()}")
    try:
        try:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(fd)
            scratch.replace(path)
            _sync(path.parent)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
    except (OSError, UnicodeEncodeError) as error:
        raise BimetalError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}",
            "make room on the disk, or correct the permissions of its folder",
            ExitCode.IO_ERROR,
        ) from error


def write_over(path: Path, text: str) -> None:
    """Write a file of the same length into the room that it has: for a disk without any more, as
    long as a reader is content with what a crash of the host may leave. Raises OSError."""
    data = text.encode()
    with open(path, "r+b", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(data)


def _sync(folder: Path) -> None:
    """Have what happened to the names in a folder outlast a crash of the host."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _files(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_xml(name: str) -> bool:
    return name.endswith(SUFFIX) and not name.startswith(".")
