"""Emulators whose machines run: from the command line to the exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from bimetal.codegen.interpreter import interpreter
from bimetal.isa.names import architecture
from tests.boot.bare import END, write_program
from tests.cli.conftest import SOURCE
from tests.control.emulator.programs import LIMIT, await_end, daemon, finished
from tests.control.homes import IDLE
from tests.control.talker import Talker
from tests.kvm_bed.hello import LETTER, hello_kernel

PROGRAM, PC = "qemu-system-riscv64", "qemu-system-x86_64"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}
USUAL = "-M virt -m 16M -nodefaults -display none".split()


@pytest.fixture
def off(tmp_path: Path) -> str:
    """A program that switches the machine off."""
    return str(write_program(tmp_path / "off.elf", *END))


@pytest.fixture
def idle(tmp_path: Path) -> str:
    """A program that waits for ever."""
    return str(write_program(tmp_path / "idle.elf", *IDLE))


def test_a_guest_that_switches_off_ends_it(launchers: Path, off: str) -> None:
    outcome = finished(launchers / PROGRAM, *USUAL, "-kernel", off)
    assert (outcome.returncode, outcome.stderr) == (0, "")


@pytest.mark.slow
def test_a_guest_of_an_instruction_set_that_is_not_finished(
    launchers: Path, tmp_path: Path
) -> None:
    """The interpreter is there before it is waited for: for the first time that takes minutes."""
    interpreter(architecture("x86_64").isa, shared=False)
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(hello_kernel())
    usual = "-M microvm -m 16M -nodefaults -display none -serial stdio".split()
    outcome = finished(launchers / PC, *usual, "-accel", "tcg", "-kernel", str(kernel))
    assert (outcome.returncode, outcome.stdout) == (0, LETTER)
    assert "x86_64 is not finished under jit: programs may go wrong" in outcome.stderr


def test_no_accelerator_is_chosen_for_it(launchers: Path) -> None:
    outcome = finished(launchers / PC, "-M", "microvm", "-nodefaults", "-display", "none")
    assert outcome.returncode == 1
    assert "no accelerator that is chosen by itself" in outcome.stderr
    assert "-accel tcg" in outcome.stderr


def test_what_cannot_be_is_told_before_anything_runs(launchers: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    outcome = finished(launchers / PROGRAM, *USUAL, "-kernel", missing)
    assert outcome.returncode == 1
    assert f"{PROGRAM}: the kernel {missing} cannot be read" in outcome.stderr


def test_a_daemon_and_the_client_of_other_people(
    launchers: Path, tmp_path: Path, idle: str
) -> None:
    async def talk() -> list[str]:
        client = QMPClient("test")
        await client.connect(str(tmp_path / "qmp"))
        states = []
        for command in ("query-status", "cont", "query-status", "stop", "query-status"):
            answer = await client.execute(command)
            if command == "query-status":
                assert isinstance(answer, dict)
                states.append(str(answer["status"]))
        await client.execute("quit")
        await client.disconnect()
        return states

    process = daemon(launchers / PROGRAM, tmp_path, *USUAL, "-S", "-kernel", idle)
    assert asyncio.run(talk()) == ["prelaunch", "running", "paused"]
    await_end(process)
    assert not (tmp_path / "pid").exists()


def test_a_signal_ends_it_and_clients_hear_of_it(
    launchers: Path, tmp_path: Path, idle: str
) -> None:
    process = daemon(launchers / PROGRAM, tmp_path, *USUAL, "-kernel", idle)
    with Talker(tmp_path / "qmp") as talker:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        told = talker.event("SHUTDOWN")["data"]
        assert told == {"guest": False, "reason": "host-signal"}
    await_end(process)


def test_a_machine_that_stays_begins_anew_when_it_is_reset(
    launchers: Path, tmp_path: Path, off: str
) -> None:
    process = daemon(launchers / PROGRAM, tmp_path, *USUAL, "-S", "-no-shutdown", "-kernel", off)
    with Talker(tmp_path / "qmp") as talker:
        for _ in range(2):
            talker.value("cont")
            assert talker.event("SHUTDOWN")["data"]["guest"] is True
            talker.event("STOP")
            assert talker.value("query-status")["status"] == "shutdown"
            talker.value("system_reset")
            assert talker.event("RESET")["data"]["guest"] is False
            assert talker.value("query-status")["running"] is False
        talker.value("quit")
    await_end(process)


TOLD_LATE = f"""
import sys, time
from bimetal.control.emulator import program
from bimetal.control.monitor import Monitor
happened = Monitor._happened
def slowly(monitor, event):
    if event.name == "SHUTDOWN":
        time.sleep(0.3)
    happened(monitor, event)
Monitor._happened = slowly
sys.exit(program.main("{PROGRAM}", sys.argv[1:]))
"""


def test_clients_hear_in_order_what_happens(tmp_path: Path, off: str) -> None:
    words = [sys.executable, "-c", TOLD_LATE, *USUAL, "-S", "-no-shutdown", "-kernel", off]
    words += ["-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off"]
    with subprocess.Popen(words, env=ENVIRONMENT) as process:
        try:
            while not (tmp_path / "qmp").exists():
                assert process.poll() is None
                time.sleep(0.01)
            with Talker(tmp_path / "qmp") as talker:
                talker.value("cont")
                told = [str(each["event"]) for each in talker.events]
                while not {"SHUTDOWN", "STOP"} <= {*told}:
                    told.append(str(talker.next()["event"]))
                assert told[-2:] == ["SHUTDOWN", "STOP"]
                talker.value("quit")
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()


def test_a_socket_that_was_handed_to_it(launchers: Path, tmp_path: Path, idle: str) -> None:
    """As libvirt does it: it listens already, and passes the descriptor."""
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); "
        "s.listen(); os.set_inheritable(s.fileno(), True); "
        "os.execv(sys.argv[2], [word.replace('FD', str(s.fileno())) for word in sys.argv[2:]])"
    )
    line = ["-chardev", "socket,id=m,fd=FD,server=on,wait=off", "-mon", "chardev=m,mode=control"]
    words = [str(launchers / PROGRAM), *USUAL, *line, "-kernel", idle]
    process = daemon("python3", tmp_path, "-c", code, str(tmp_path / "own"), *words, qmp=False)
    with Talker(tmp_path / "own") as talker:
        assert talker.value("query-status")["status"] == "running"
        talker.value("quit")
    await_end(process)


def test_nothing_is_left_open_for_others(launchers: Path, tmp_path: Path, idle: str) -> None:
    process = daemon(launchers / PROGRAM, tmp_path, *USUAL, "-kernel", idle)
    number = int((tmp_path / "pid").read_text())
    assert os.readlink(f"/proc/{number}/cwd") == "/"
    assert os.readlink(f"/proc/{number}/fd/1") == os.devnull
    with Talker(tmp_path / "qmp") as talker:
        talker.value("quit")
    await_end(process)


def test_a_person_at_the_terminal(launchers: Path, idle: str) -> None:
    line = [*USUAL, "-kernel", idle, "-serial", "none", "-monitor", "stdio"]
    outcome = finished(launchers / PROGRAM, *line, ask="info status\nquit\n")
    assert outcome.returncode == 0
    assert "VM status: " in outcome.stdout
