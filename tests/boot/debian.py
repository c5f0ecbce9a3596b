"""Debian with systemd as a guest: its root file systems, packages for it, and talks with it."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from bimetal import Machine, cache_folder
from bimetal.catalogue.apt import Apt, find_keyring, find_mirror
from bimetal.catalogue.folder import locked
from bimetal.catalogue.progress import Silent
from tests.boot.conftest import LIMIT, clean
from tools.debian_root import PACKAGES, make_root, make_root_folder, missing_tools, write_image

__all__ = [
    "BIG",
    "Debian",
    "Quiet",
    "make_repository",
    "net_root",
    "net_root_image",
    "programs_root",
    "programs_root_image",
    "root_image",
    "serving",
    "stress_root_image",
]

BIG = f"{PACKAGES},kmod,systemd-resolved,openssh-server,iperf3,iputils-ping,iproute2,apt"
"""What a guest has that uses its network."""

ENGINES = f"{PACKAGES},python3,libpython3.13-testsuite,openssl,nodejs,openjdk-21-jre-headless"
"""What tries a processor hard: tests, algorithms, and compilers of their own."""

FOLLOWED = re.compile(r"libjq|libonig")
"""Of what packages depend on, what no root file system has."""


def root_image(arch: str) -> Path:
    """An image, made once and kept in the cache: tests use it as a snapshot."""
    return _made(f"{arch}.img", arch, lambda path: make_root(path, arch))


def stress_root_image(arch: str) -> Path:
    """One with stress-ng."""
    packages = f"{PACKAGES},stress-ng"
    return _made(f"stress-{arch}.img", arch, lambda path: make_root(path, arch, packages=packages))


def net_root(arch: str) -> Path:
    """A folder with what uses a network, of which tests use copies."""
    return _made(f"net-{arch}", arch, lambda path: make_root_folder(path, arch, packages=BIG))


def net_root_image(arch: str) -> Path:
    """The same as an image."""
    root = net_root(arch)
    return _made(f"net-{arch}.img", arch, lambda path: write_image(path, root))


def programs_root(arch: str) -> Path:
    """A folder with what tries a processor hard, which is only to be read."""
    return _made(
        f"programs-{arch}", arch, lambda path: make_root_folder(path, arch, packages=ENGINES)
    )


def programs_root_image(arch: str) -> Path:
    """The same as an image."""
    root = programs_root(arch)
    return _made(f"programs-{arch}.img", arch, lambda path: write_image(path, root, "3G"))


def _made(name: str, arch: str, make: Callable[[Path], None]) -> Path:
    path = cache_folder() / "roots" / name
    with locked(path.with_suffix(".lock"), lambda: None):
        if not path.exists():
            if lacking := missing_tools(arch) or ("root" if os.getuid() else ""):
                pytest.skip(f"to make a root file system this host lacks {lacking}")
            make(path)
    return path


def make_repository(folder: Path, arch: str, *names: str) -> None:
    """Write packages, and the list of them, of which apt says "flat" (sources.list(5))."""
    state = cache_folder() / "apt-for-tests" / arch
    with locked(state / "lock", lambda: None):
        apt = Apt(state, find_mirror(), find_keyring(), "trixie", arch)
        apt.update(Silent())
        files = apt.download(apt.packages(names, FOLLOWED), Silent())
        records = []
        for file in files:
            data = file.read_bytes()
            (folder / file.name).write_bytes(data)
            told = subprocess.run(["dpkg-deb", "-f", file], capture_output=True, check=True)
            records.append(
                f"{told.stdout.decode().strip()}\nFilename: ./{file.name}\nSize: {len(data)}\n"
                f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
            )
    (folder / "Packages").write_text("\n".join(records))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server of the files in ``folder``, which only the loopback interface has."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made.server_port
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


class Debian:
    """A machine that runs Debian, and the root's shell on its console."""

    def __init__(self, machine: Machine, *, restored: bool = False):
        """Log in; a machine that is ``restored`` has its shell already."""
        self._console = machine.console
        machine.start()
        if restored:
            return
        self._console.expect("login: ", timeout=LIMIT)
        self._console.sendline("root")
        self._console.expect("Password: ", timeout=LIMIT)
        self._console.sendline("bimetal")
        self._console.expect("root@bimetal:~# ", timeout=LIMIT)
        self.do("dmesg -n 1; stty -echo; systemctl stop apt-daily.timer apt-daily-upgrade.timer")

    def do(self, command: str, status: int = 0, limit: float = LIMIT) -> str:
        """Type a command; what it printed. It must end with ``status``, in ``limit`` seconds."""
        self._console.sendline(f"echo be''gin; {command}; echo en''d=$?")
        found = self._console.expect(re.compile(r"begin\r*\n(?s:(.*?))end=([0-9]+)\r"), limit)
        printed, ended = clean(found.groups[0]), int(found.groups[1])
        assert ended == status, f"{command}: {ended}\n{printed}"
        return printed.removesuffix("\n")

    def power_off(self, machine: Machine) -> None:
        """By systemd, in order."""
        self._console.sendline("systemctl poweroff")
        assert machine.wait(timeout=LIMIT).code == 0
