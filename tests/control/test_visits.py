"""Viewers who come and go, as clients of QMP are told of them: beside QEMU."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.control.emulator.ordered import ordered
from tests.control.talker import Talker
from tests.host import program_path, programs

OPTIONS = "-nodefaults -display none -m 16M -device virtio-gpu-pci"
STAGES = ["VNC_CONNECTED", "VNC_INITIALIZED", "VNC_DISCONNECTED"]


@contextmanager
def ours(vnc: str, path: Path) -> Iterator[Talker]:
    line = f"-device virtio-gpu-pci -vnc {vnc} -qmp unix:{path},server,nowait"
    with ordered(line, viewers=True) as monitor:
        monitor.start()
        with Talker(path) as talker:
            yield talker


@contextmanager
def theirs(vnc: str, path: Path, *options: str) -> Iterator[Talker]:
    """A client of QEMU."""
    command = [program_path("qemu-system-riscv64"), "-M", "virt", "-S", *OPTIONS.split()]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        line = f"socket,id=m,fd={listener.fileno()},server=on,wait=off"
        command += [*options, "-vnc", vnc, "-chardev", line, "-mon", "chardev=m,mode=control"]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as process:
            try:
                with Talker(path) as talker:
                    yield talker
            finally:
                process.kill()


def look(where: Any) -> None:
    """Connect, be let in without a password, and leave."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as viewer:
        viewer.connect(where)
        heard = viewer.makefile("rb")
        assert heard.read(12) == b"RFB 003.008\n"
        viewer.sendall(b"RFB 003.008\n")
        assert heard.read(2) == b"\1\1"
        viewer.sendall(b"\1\1")
        assert heard.read(4) == bytes(4)
        assert len(heard.read(24)) == 24
        heard.close()


def told(talker: Talker, where: Any) -> list[Any]:
    """The events of a viewer who looks, without what differs from one connection to another."""
    look(where)
    events = [talker.next() for _ in STAGES]
    for event in events:
        del event["timestamp"]
        for end in event["data"].values():
            end["service"] = end["service"] and "SERVICE"
    return events


@programs("qemu-system-riscv64")
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_viewers_come_and_go_as_with_qemu(kind: str, tmp_path: Path) -> None:
    seen = []
    for number, made in enumerate((ours, theirs)):
        path = tmp_path / f"vnc{number}"
        vnc = f"unix:{path}" if kind == "unix" else f"127.0.0.1:{free_display()}"
        with made(vnc, tmp_path / f"qmp{number}") as talker:
            known = talker.value("query-vnc")
            assert known["clients"] == []
            where = known["service"]
            seen.append(told(talker, where if kind == "unix" else (known["host"], int(where))))
    assert seen[0] == seen[1]
    assert [event["event"] for event in seen[0]] == STAGES


def free_display() -> int:
    """A display that nobody serves."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1]) - 5900


def test_who_does_not_know_the_password_is_not_let_in(tmp_path: Path) -> None:
    path = tmp_path / "vnc"
    with ours(f"unix:{path},password=on", tmp_path / "qmp") as talker:
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.connect(str(path))
            heard = viewer.makefile("rb")
            heard.read(12)
            viewer.sendall(b"RFB 003.008\n")
            assert heard.read(2) == b"\1\2"
            assert len(talker.value("query-vnc")["clients"]) == 1
            viewer.sendall(b"\2" + bytes(16))
            heard.read()
            heard.close()
        events = [*talker.events, talker.next()]
        assert [event["event"] for event in events] == [STAGES[0], STAGES[2]]
        assert events[0]["data"]["server"]["auth"] == "vnc"
        assert talker.value("query-vnc")["clients"] == []
