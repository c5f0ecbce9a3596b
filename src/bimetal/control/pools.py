"""Pools: folders with images of disks, known by name.

    CONFIG/storage/NAME.json        where a pool is, and whether it is in use

The pool ``default`` is there always: it is the folder in which images of new machines lie.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import make_private
from bimetal.base.late import late
from bimetal.base.near import did_you_mean
from bimetal.control.names import check_name
from bimetal.control.places import Places, write_whole
from bimetal.control.pool_parts import Pool, Volume

__all__ = ["DEFAULT", "Pools"]

DEFAULT = "default"
SUFFIX = ".json"
FILE_LIMIT = 1 << 16
OURS = UUID("6f3d1c52-6d0a-4c1f-9a53-0f6c1b9d7a11")
"""The name space of identities that follow from a path (RFC 9562, 5.5)."""


class Pools:
    """The pools of the user. Methods raise `BimetalError`."""

    def __init__(self, places: Places):
        self._folder = places.definitions.parent / "storage"
        self._images = places.images

    def __iter__(self) -> Iterator[Pool]:
        """All of them, by name."""
        names = {DEFAULT}
        with suppress(OSError):
            names |= {
                each.removesuffix(SUFFIX)
                for each in os.listdir(self._folder)
                if each.endswith(SUFFIX) and not each.startswith(".")
            }
        for name in sorted(names):
            pool = self._read(name)
            if pool is not None:
                yield pool

    def find(self, called: str) -> Pool:
        """The pool of that name or UUID."""
        pools = list[Pool](self)
        for pool in pools:
            if called in (pool.name, pool.uuid):
                return pool
        raise BimetalError(
            f"failed to get pool '{called[:80]}'",
            did_you_mean(called[:80], [pool.name for pool in pools])
            or f"Storage pool not found: no storage pool with matching name '{called[:80]}'",
            ExitCode.NO_INPUT,
        )

    def define(self, name: str, path: str, *, persistent: bool = True) -> Pool:
        """Call the folder at ``path`` a pool; one that is not ``persistent`` is forgotten when it
        is used no more."""
        check_name(name)
        if any(pool.name == name for pool in self):
            raise _wrong(f"operation failed: pool '{name}' already exists", "choose another name")
        if not os.path.isabs(path):
            raise _wrong(f"{path[:80]!r} is no absolute path", "give one: --target /srv/images")
        return self._keep(Pool(name, path, str(uuid4()), active=False, persistent=persistent))

    def build(self, pool: Pool) -> None:
        """Make the folder of a pool, if it is not there."""
        try:
            make_private(Path(pool.path))
        except OSError as error:
            raise BimetalError(
                f"cannot create path '{pool.path}': {error.strerror}", "", ExitCode.IO_ERROR
            ) from error

    def set_active(self, pool: Pool, active: bool) -> None:
        """Use a pool, or use it no more."""
        if pool.active == active:
            state = "active" if active else "not active"
            raise _wrong(
                f"Requested operation is not valid: storage pool '{pool.name}' is {state}", ""
            )
        if active and not os.path.isdir(pool.path):
            raise BimetalError(
                f"cannot open path '{pool.path}': No such file or directory",
                f"make it: bimetal pool-build {pool.name}",
                ExitCode.NO_INPUT,
            )
        if active or pool.persistent:
            self._keep(replace(pool, active=active))
        else:
            self._file(pool.name).unlink(missing_ok=True)

    def set_autostart(self, pool: Pool, autostart: bool) -> None:
        """Note whether a pool is to be used by itself, which each active one is."""
        self._keep(replace(pool, autostart=autostart))

    def undefine(self, pool: Pool) -> None:
        """Forget a pool; what is in it stays."""
        if pool.active:
            raise _wrong(
                f"Requested operation is not valid: storage pool '{pool.name}' is still active",
                f"bimetal pool-destroy {pool.name}",
            )
        self._file(pool.name).unlink(missing_ok=True)

    def volumes(self, pool: Pool) -> list[Volume]:
        """The images in a pool, by name."""
        self._check_active(pool)
        found = []
        with suppress(OSError):
            for name in sorted(os.listdir(pool.path)):
                path = os.path.join(pool.path, name)
                if not name.startswith(".") and os.path.isfile(path):
                    found.append(_volume(name, path))
        return found

    def volume(self, called: str, pool: str = "") -> Volume:
        """The image of that name in a pool, or at that path."""
        if pool:
            place = self.find(pool)
            self._check_active(place)
            path = os.path.join(place.path, called)
            if "/" not in called and not called.startswith(".") and os.path.isfile(path):
                return _volume(called, path)
        elif os.path.isabs(called):
            for each in self:
                if os.path.dirname(called) == each.path and os.path.isfile(called):
                    return _volume(os.path.basename(called), called)
        hint = "" if pool else ", specifying --pool might help"
        raise BimetalError(
            f"failed to get vol '{called[:200]}'{hint}",
            f"Storage volume not found: no storage vol with matching path '{called[:200]}'"
            if not pool
            else "look: bimetal vol-list",
            ExitCode.NO_INPUT,
        )

    def new_path(self, pool: Pool, name: str) -> str:
        """Where a new image lies."""
        self._check_active(pool)
        if not name or "/" in name or name.startswith(".") or "\0" in name or len(name) > 200:
            raise _wrong(
                f"{name[:80]!r} is no name of a volume", "leave '/' and a leading '.' away"
            )
        path = os.path.join(pool.path, name)
        if os.path.lexists(path):
            raise _wrong(f"storage volume '{name}' exists already", "choose another name")
        return path

    def _check_active(self, pool: Pool) -> None:
        if not pool.active:
            raise _wrong(
                "Requested operation is not valid: storage pool is not active",
                f"bimetal pool-start {pool.name}",
            )
        if pool.name == DEFAULT:
            self.build(pool)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"

    def _read(self, name: str) -> Pool | None:
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            with self._file(name).open("rb") as file:
                said: dict[str, Any] = json.loads(file.read(FILE_LIMIT))
            return Pool(
                name, str(said["path"]), str(said["uuid"]), bool(said["active"]),
                bool(said["autostart"]), bool(said["persistent"]),
            )  # fmt: skip
        if name != DEFAULT:
            return None
        identity = uuid5(OURS, str(self._images))
        return Pool(DEFAULT, str(self._images), str(identity), autostart=True)

    def _keep(self, pool: Pool) -> Pool:
        late("bimetal.base.folders:make_private")(self._folder)
        said = {"path": pool.path, "uuid": pool.uuid, "active": pool.active,
                "autostart": pool.autostart, "persistent": pool.persistent}  # fmt: skip
        write_whole(self._file(pool.name), json.dumps(said))
        return pool


def _volume(name: str, path: str) -> Volume:
    """What an image is; a file that is none is raw."""
    status = os.stat(path)
    try:
        found = late("bimetal.images:information")(path, shared=True)
        return Volume(name, path, found.format, found.size, status.st_blocks * 512)
    except (BimetalError, OSError):
        return Volume(name, path, "raw", status.st_size, status.st_blocks * 512)


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
