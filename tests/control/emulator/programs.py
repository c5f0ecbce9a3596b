"""Emulators as programs, started as libvirt starts them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.control.talker import Talker

__all__ = ["LIMIT", "await_end", "daemon", "finished", "probed"]

LIMIT = 240
PROBE = "-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg"


def finished(program: Path | str, *words: str, ask: str = "") -> subprocess.CompletedProcess[str]:
    """Run an emulator to its end, with ``ask`` at its standard input."""
    return subprocess.run(
        [program, *words],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        input=ask,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


@contextmanager
def probed(program: Path, folder: Path) -> Iterator[Talker]:
    """A conversation with an emulator that libvirt's line has started, and that SIGTERM ends."""
    line = f"{PROBE} -qmp unix:{folder}/qmp,server=on,wait=off -pidfile {folder}/pid -daemonize"
    outcome = finished(program, *line.split())
    assert outcome.returncode == 0, outcome.stderr
    process = os.pidfd_open(int((folder / "pid").read_text()))
    try:
        with Talker(folder / "qmp") as talker:
            yield talker
    finally:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        await_end(process)


def daemon(program: Path | str, folder: Path, *words: str, qmp: bool = True) -> int:
    """Start an emulator that goes on as a daemon, with QMP in ``folder``; a descriptor of its
    process."""
    place = ["-qmp", f"unix:{folder}/qmp,server=on,wait=off"] if qmp else []
    outcome = finished(program, *words, *place, "-pidfile", f"{folder}/pid", "-daemonize")
    assert outcome.returncode == 0, outcome.stderr
    return os.pidfd_open(int((folder / "pid").read_text()))


def await_end(process: int) -> None:
    """Wait for the end of a process, by its descriptor."""
    ended, _, _ = select.select([process], [], [], LIMIT)
    os.close(process)
    assert ended
