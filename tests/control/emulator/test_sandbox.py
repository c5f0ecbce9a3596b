"""What an emulator cannot do any more behind ``-sandbox on``, and what it still can."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.control.emulator.options import names_told, read_command_line
from bimetal.control.emulator.sandbox import confine
from bimetal.control.emulator.targets import TARGETS
from bimetal.control.sandboxing import can_confine
from tests.boot.bare import END, write_program
from tests.control.emulator.programs import LIMIT, await_end, daemon, finished
from tests.control.homes import IDLE, Homes
from tests.control.talker import Talker
from tests.host import lacking

QEMU = "qemu-system-riscv64"
ALL = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
"""What libvirt writes."""

# Whatever is attempted does no harm where it is allowed: there is no such place, or process.
ATTEMPTS = """
import ctypes, errno, json, os, subprocess, sys
from bimetal.control.emulator.options import read_command_line
from bimetal.control.emulator.sandbox import confine
from bimetal.control.emulator.targets import TARGETS

confine(read_command_line(TARGETS["riscv64"], ["-sandbox", sys.argv[1]]))
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


attempts = {
    "a file": lambda: open(sys.argv[2], "r+b").read(1),
    "Python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "a session": lambda: subprocess.run([sys.executable, "-c", ""], start_new_session=True),
    "a program": lambda: subprocess.run(["/bin/true"], check=True),
    "another user": lambda: os.setuid(os.getuid()),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
    "ptrace": lambda: call("ptrace", 16, 0, 0, 0),
    "mount": lambda: call("mount", b"none", b"/nowhere", b"tmpfs", 0, None),
    "unshare": lambda: call("unshare", 0),
}
done = {}
for name, attempt in attempts.items():
    try:
        attempt()
        done[name] = True
    except OSError as error:
        done[name] = error.errno not in (errno.EPERM, errno.EACCES)
print(json.dumps(done))
"""
MAY = {"a file", "Python", "a session"}


@pytest.fixture(autouse=True)
def _host() -> None:
    if not can_confine():
        lacking("this host's kernel has no Landlock, or there is no libseccomp")


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (ALL, set[str]()),
        ("on,spawn=deny", {"another user", "priority"}),
        ("on,elevateprivileges=deny", {"a program", "priority"}),
        ("on,elevateprivileges=children,resourcecontrol=deny", {"a program", "another user"}),
        ("on", {"a program", "another user", "priority"}),
        ("off", {"a program", "another user", "priority", "ptrace", "mount", "unshare"}),
    ],
)
def test_what_is_gone(words: str, more: set[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    command = [sys.executable, "-c", ATTEMPTS, words, str(tmp_path / "file")]
    path = os.pathsep.join(sys.path)
    outcome = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    done = {name for name, could in json.loads(outcome.stdout).items() if could}
    if os.geteuid():
        done, more = done - {"mount"}, more - {"mount"}  # which is not for everybody
    assert done == MAY | more


def test_a_guest_runs_to_its_end(launchers: Path, tmp_path: Path) -> None:
    kernel = write_program(tmp_path / "end.elf", *END)
    words = ("-M", "virt", "-nographic", "-bios", "none", "-kernel", str(kernel), "-sandbox", ALL)
    outcome = finished(launchers / QEMU, *words)
    assert outcome.returncode == 0, outcome.stderr


def test_all_threads_are_confined_and_disks_come_from_anywhere(
    launchers: Path, tmp_path: Path
) -> None:
    kernel, disk = write_program(tmp_path / "idle.elf", *IDLE), tmp_path / "elsewhere" / "disk.img"
    disk.parent.mkdir()
    line = f"-M virt -nodefaults -display none -bios none -kernel {kernel} -usb -sandbox {ALL}"
    process = daemon(launchers / QEMU, tmp_path, *line.split())
    try:
        disk.write_bytes(bytes(1 << 20))
        with Talker(tmp_path / "qmp") as talker:
            file = {"driver": "file", "filename": str(disk)}
            talker.value("blockdev-add", node_name="n", driver="raw", file=file)
            talker.value("device_add", driver="usb-storage", id="s", drive="n")
            (block,) = talker.value("query-block")
            assert block["inserted"]["file"] == str(disk)
        assert confined(int((tmp_path / "pid").read_text()))
    finally:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        await_end(process)


def confined(pid: int) -> bool:
    """Whether all threads of a process have a filter for system calls, and no way to new rights."""
    told = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            lines = (thread / "status").read_text().splitlines()
            told.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return bool(told) and all((each["Seccomp"], each["NoNewPrivs"]) == ("2", "1") for each in told)


def test_a_machine_at_a_terminal(homes: Homes) -> None:
    words = ["run", "--board", "riscv-virt", "--bios", "none", "--sandbox", "on", "--net", "user"]
    done = homes.run(*words, "--kernel", str(homes.off))
    assert done.code == 0, done.err
    refused = homes.run(*words, "--kernel", str(homes.off), "--net", "passt")
    assert "a network of the kind passt" in refused.err
    command = [sys.executable, "-c", "from bimetal.cli import main; main()", *words]
    command += ["--kernel", str(homes.idle), "--serial", "pty"]
    with subprocess.Popen(command, env=homes.environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"the console is at" not in process.stderr.readline():
            assert process.poll() is None
        assert confined(process.pid)
        process.kill()


def test_what_cannot_be_together_is_refused() -> None:
    words = shlex.split(f"-M virt -netdev passt,id=n -sandbox {ALL}")
    with pytest.raises(BimetalError, match="a network of the kind passt"):
        confine(read_command_line(TARGETS["riscv64"], words))


def test_clients_are_told_of_it() -> None:
    """libvirt asks for it then (2.5 of what was measured of it)."""
    assert "sandbox" in names_told()
