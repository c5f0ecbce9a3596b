"""The QEMU that emulates the bed: a newer one than Debian 12 has, if it can be had and runs.

Versions before 10 do not report debug exceptions to a hypervisor that they emulate.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from bimetal.base.errors import BimetalError
from bimetal.base.folders import cache_folder
from bimetal.catalogue.apt import Apt, find_keyring, find_mirror
from bimetal.catalogue.deb import unpack
from bimetal.catalogue.folder import locked
from bimetal.catalogue.progress import Silent

__all__ = ["Emulator", "find_emulator"]

INSTALLED = "qemu-system-x86_64"
SUITE = "bookworm-backports"
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data")
NOTHING = re.compile("(?!)")
FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu")
WANTED = 10


@dataclass(frozen=True)
class Emulator:
    """The command that runs QEMU, and its major version."""

    command: tuple[str, ...]
    version: int


def find_emulator() -> Emulator | None:
    """The best QEMU there is: the installed one if it is new enough, else one from the mirror,
    else the installed one; None without any."""
    path = shutil.which(INSTALLED)
    installed = _probe((path,)) if path else None
    if installed is None or installed.version >= WANTED:
        return installed
    try:
        return _fetched() or installed
    except BimetalError:
        return installed


def _fetched() -> Emulator | None:
    """QEMU from the mirror, unpacked in the cache; it uses the libraries of the installed one."""
    home = cache_folder() / "kvm-bed"
    tree = home / "tree"
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock", lambda: None):
        if not tree.exists():
            apt = Apt(home / "apt", find_mirror(), find_keyring(), SUITE, "amd64")
            apt.update(Silent())
            half = home / "half"
            shutil.rmtree(half, ignore_errors=True)
            for file in apt.download(apt.packages(PACKAGES, NOTHING), Silent()):
                unpack(file, half)
            half.rename(tree)
    own = str(tree / "usr/share/qemu")
    folders = [word for folder in (own, *FIRMWARE) for word in ("-L", folder)]
    return _probe((str(tree / "usr/bin/qemu-system-x86_64"), *folders))


def _probe(command: tuple[str, ...]) -> Emulator | None:
    """``command`` if it runs here."""
    done = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)\.", done.stdout)
    return Emulator(command, int(found[1])) if found else None
