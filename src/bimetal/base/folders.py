"""The user's folders: where caches are kept, and that nobody else can write there."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode

__all__ = [
    "cache_folder",
    "cache_home",
    "check_private",
    "config_home",
    "data_home",
    "make_private",
    "runtime_home",
    "state_home",
]

PRIVATE = 0o700
"""The mode of the folders that we make, as the XDG base directory specification wants it."""


def cache_home() -> Path:
    """Where the caches of all programs lie: ``$XDG_CACHE_HOME``, or ``.cache`` at home.

    A path in the variable that is not absolute counts as unset (XDG base directory specification
    0.8, Basics).
    """
    return _named("XDG_CACHE_HOME") or _home() / ".cache"


def config_home() -> Path:
    """Where programs keep what their user has decided: ``$XDG_CONFIG_HOME``, or ``.config`` at
    home; otherwise as `cache_home`."""
    return _named("XDG_CONFIG_HOME") or _home() / ".config"


def data_home() -> Path:
    """Where programs keep what they have made for their user: ``$XDG_DATA_HOME``, or
    ``.local/share`` at home; otherwise as `cache_home`."""
    return _named("XDG_DATA_HOME") or _home() / ".local/share"


def state_home() -> Path:
    """Where programs keep what they have to know the next time: ``$XDG_STATE_HOME``, or
    ``.local/state`` at home; otherwise as `cache_home`."""
    return _named("XDG_STATE_HOME") or _home() / ".local/state"


def runtime_home() -> Path | None:
    """Where the sockets of a user's programs lie while the user is logged in:
    ``$XDG_RUNTIME_DIR``, or None without it."""
    return _named("XDG_RUNTIME_DIR")


def _named(variable: str) -> Path | None:
    named = os.environ.get(variable, "")
    return Path(named) if os.path.isabs(named) else None


def _home() -> Path:
    """The user's home folder; ``/`` for a user who has none, where only root can write."""
    named = os.environ.get("HOME", "")
    if not os.path.isabs(named):
        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # containers run programs for users that no table knows
            named = ""
    return Path(named) if os.path.isabs(named) else Path("/")


def cache_folder() -> Path:
    """Our own folder in `cache_home`, made if need be.

    Raises `BimetalError` where it cannot be made, or where others can write.
    """
    folder = cache_home() / "bimetal"
    try:
        make_private(folder)
    except OSError as error:
        raise BimetalError(
            f"the cache folder {folder} cannot be made: {error.strerror}",
            "set XDG_CACHE_HOME to a folder that can be written",
            ExitCode.NO_PERMISSION,
        ) from error
    check_private(folder)
    return folder


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, where only the user may look. Raises OSError."""
    for missing in reversed([folder, *folder.parents]):
        if not missing.is_dir():
            missing.mkdir(PRIVATE, exist_ok=True)


def check_private(path: Path) -> None:
    """Refuse a file or folder that others could fill: what lies there is executed, or trusted.

    The superuser counts as the user. Raises `BimetalError`, and OSError if ``path`` is not there.
    """
    status = path.stat()
    if status.st_uid not in (0, os.getuid()):
        reason = f"belongs to another user ({status.st_uid})"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = "can be written by others"
    else:
        return
    raise BimetalError(
        f"{path} {reason}, so what is in it cannot be trusted",
        "remove it (it is made again when it is needed), or set XDG_CACHE_HOME to another folder",
        ExitCode.NO_PERMISSION,
    )
