"""Unpacking of Debian packages, by dpkg's own ``dpkg-deb``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["unpack"]


def unpack(package: Path, into: Path) -> None:
    """Unpack the files of ``package`` into the folder ``into``, beside what is there."""
    try:
        done = subprocess.run(
            ["dpkg-deb", "--extract", str(package), str(into)],
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
        raise BimetalError(
            f"{package.name} cannot be unpacked: {done.stderr.strip()}",
            "see that the disk with the cache has room, then try again",
            ExitCode.DATA,
        )
