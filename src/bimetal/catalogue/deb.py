"""Unpacking of Debian packages, by dpkg's own ``dpkg-deb``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.catalogue.room import no_room, tells_of_no_room

__all__ = ["unpack"]


def unpack(package: Path, into: Path) -> None:
    """Unpack the files of ``package`` into the folder ``into``, beside what is there.

    A package that is damaged is removed, so that the next try fetches it anew.
    """
    try:
        done = subprocess.run(
            ["dpkg-deb", "--extract", str(package), str(into)],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BimetalError(
            "this host has no dpkg-deb, which unpacks the guest's packages",
            "install the package dpkg, or give --kernel and --initrd yourself",
            ExitCode.UNAVAILABLE,
        ) from error
    if done.returncode != 0:
        if tells_of_no_room(done.stderr):
            raise no_room()
        package.unlink(missing_ok=True)
        raise BimetalError(
            f"{package.name} cannot be unpacked: {done.stderr.strip()}",
            "try again, which fetches it anew; if that does not help, check the host's disk",
            ExitCode.DATA,
        )
