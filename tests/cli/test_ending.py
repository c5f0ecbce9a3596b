"""How ``bimetal`` ends: in order and soon, whatever ends it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bimetal import ExitCode
from tests.boot.bare import BASE, FAIL_WITH_A0, write_program
from tests.cli.conftest import SOURCE
from tests.importing import check_signal_while_importing

LIMIT = 60
"""Seconds for what takes milliseconds on an idle host."""

SAY_A = ("lui t0, 0x10000", "addi t1, zero, 65", "sb t1, 0(t0)")
IDLE = (*SAY_A, f"jal zero, {BASE + 12:#x}")
CHATTER = (*SAY_A, f"jal zero, {BASE + 8:#x}")
FAIL_7 = (*SAY_A, "addi a0, zero, 7", *FAIL_WITH_A0)
BARE = ("run", "--bios", "none", "--memory", "16M", "--no-background")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``bimetal run`` with a bare program, and more words; it is ended with the test."""
    with contextlib.ExitStack() as ends:

        def run(program: tuple[str, ...], *words: str, before: tuple[str, ...] = (), **how: Any):  # type: ignore[no-untyped-def]
            kernel = write_program(tmp_path / "program.elf", *program)
            command = [*before, sys.executable, "-m", "bimetal", *BARE, "--kernel", str(kernel)]
            pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **how}
            process = subprocess.Popen([*command, *words], env=ENVIRONMENT, **pipes)
            ends.enter_context(process)
            ends.callback(process.kill)
            return process

        yield run


def hear(process: Process) -> None:
    """Wait until the guest has said something."""
    assert process.stdout is not None
    assert process.stdout.read(1) == b"A"


def hear_file(path: Path) -> None:
    """The same, for a console that leads into a file."""
    end = time.monotonic() + LIMIT
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end, "the guest says nothing"
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_ends_a_run_in_order(start: Start, tmp_path: Path, name: str) -> None:
    log, line, number = tmp_path / "log", tmp_path / "line", signal.Signals[name]
    process = start(CHATTER, "--serial", f"file:{log}")
    hear_file(log)
    process.send_signal(number)
    assert process.wait(LIMIT) == -number
    process = start(IDLE, "--serial", f"unix:{line}")
    while not line.exists():
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(LIMIT) == -number
    assert not line.exists(), "the socket's file was left behind"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_run_that_a_signal_ends_tells_what_it_cost(
    start: Start, tmp_path: Path, name: str
) -> None:
    profile, number = tmp_path / "profile.txt", signal.Signals[name]
    process = start(CHATTER, "--stats", "--profile", str(profile), stderr=subprocess.PIPE)
    hear(process)
    process.send_signal(number)
    _, told = process.communicate(timeout=LIMIT)
    assert process.returncode == -number
    assert b"machine time" in told
    assert "samples" in profile.read_text()


@pytest.mark.parametrize("where", ["pty", "tcp:127.0.0.1:0", "unix:{}/line", "file:{}/log"])
def test_a_console_that_is_elsewhere_can_be_found(start: Start, tmp_path: Path, where: str) -> None:
    process = start(CHATTER, "--serial", where.format(tmp_path), stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"bimetal: ")  # the banner
    told = process.stderr.readline().decode()
    assert told.startswith("bimetal: the console is at ")
    place = told.split()[-1]
    match place.partition(":"):
        case "tcp", _, address:
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), LIMIT) as line:
                assert line.recv(1) == b"A"
        case "unix", _, path:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(path)
                assert line.recv(1) == b"A"
        case "file", _, path:
            hear_file(Path(path))
        case path, "", "":
            with open(path, "rb", buffering=0) as line:
                assert line.read(1) == b"A"
    process.terminate()
    assert process.wait(LIMIT) == -signal.SIGTERM


def test_a_signal_that_was_ignored_stays_so(start: Start) -> None:
    process = start(IDLE, before=("nohup",), stderr=subprocess.PIPE)
    hear(process)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.terminate()
    assert process.wait(LIMIT) == -signal.SIGTERM


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_process_of_a_container_ends_too(
    start: Start, tmp_path: Path, name: str, container: tuple[str, ...]
) -> None:
    line = tmp_path / "line"
    process = start(IDLE, "--serial", f"unix:{line}", before=container, stderr=subprocess.PIPE)
    while not line.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children), signal.Signals[name])
    assert process.wait(LIMIT) == 128 + signal.Signals[name]
    assert not line.exists()


def test_a_reader_that_goes_away_ends_a_run(start: Start) -> None:
    process = start(CHATTER)
    hear(process)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(LIMIT) == ExitCode.BROKEN_PIPE


def test_a_reader_that_goes_away_ends_a_guest_that_says_nothing_more(start: Start) -> None:
    process = start(IDLE, stderr=subprocess.PIPE)
    hear(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(LIMIT) == ExitCode.BROKEN_PIPE
    assert len(process.stderr.read().splitlines()) == 1, "more than the banner"


def test_a_reader_that_does_not_read_holds_up_no_end(start: Start) -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    process = start(CHATTER, stdout=theirs)
    # Not so many bytes: what is written in pieces may leave room for less than a piece.
    while select.select([], [theirs], [], 0)[1]:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(LIMIT) == -signal.SIGTERM
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    "streams",
    [">&-", ">/dev/full", "2>&-", "2>/dev/full", "<&-", "<&- >&- 2>&-", ">/dev/full 2>&1"],
)
def test_the_guests_exit_code_outlives_the_streams(tmp_path: Path, streams: str) -> None:
    kernel = write_program(tmp_path / "program.elf", *FAIL_7)
    words = " ".join([sys.executable, "-m", "bimetal", *BARE, "--kernel", str(kernel)])
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        done = subprocess.run(
            ["bash", "-c", f"{words} {streams}"],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=file,
            check=False,
        )
    assert done.returncode == 7
    assert "Traceback" not in errors.read_text()


ENDING = f"""
import os, sys, time
from bimetal.cli import ending
ending.HURRY = ending.PATIENCE = {{limit}}
ending.ONE_REQUEST = {{one_request}}
class Thing:
    def __enter__(self): pass
    def __exit__(self, *_):
        print("closing", flush=True)
        {{closing}}
        print("closed", flush=True)
try:
    with ending.Ending() as end:
        with end.of(Thing, lambda: print("abandoned", flush=True)):
            print("ready", flush=True)
            time.sleep({LIMIT})
except ending.Signalled as signalled:
    end.die()
"""


def endings(closing: str, limit: float, one_request: float = 0.25) -> Process:
    code = ENDING.format(closing=closing, limit=limit, one_request=one_request)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def rest(process: Process) -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out.decode().split(), err.decode()


def test_what_was_begun_is_closed() -> None:
    process = endings("pass", LIMIT)
    process.send_signal(signal.SIGINT)
    assert rest(process) == (-signal.SIGINT, ["closing", "closed"], "")


def test_two_signals_of_one_sender_are_one_request() -> None:
    process = endings("time.sleep(0.5)", LIMIT, one_request=LIMIT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert rest(process) == (-signal.SIGTERM, ["closing", "closed"], "")


def test_a_second_signal_ends_at_once() -> None:
    process = endings(f"time.sleep({LIMIT})", LIMIT)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == b"closing\n"
    while process.poll() is None:  # as a person presses Ctrl-C who sees nothing happen
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert rest(process) == (128 + signal.SIGINT, ["abandoned"], "")


def test_an_end_that_takes_too_long_is_cut_short() -> None:
    process = endings(f"time.sleep({LIMIT})", 0.3)
    process.send_signal(signal.SIGTERM)
    code, out, err = rest(process)
    assert (code, out) == (128 + signal.SIGTERM, ["closing", "abandoned"])
    assert "took too long" in err


IN_AN_IMPORT = """
from imported import IMPORTER
from bimetal.cli.ending import Ending, Signalled
def receive(end):
    end._asked(signal.SIGTERM, IMPORTER)
"""
IN_A_DESTRUCTOR = """
from bimetal.cli.ending import Ending, Signalled
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        print("not interrupted")
def receive(end):
    Thing()
"""


@pytest.mark.parametrize("where", [IN_AN_IMPORT, IN_A_DESTRUCTOR])
def test_a_signal_where_none_can_be_raised_is_raised_after_it(tmp_path: Path, where: str) -> None:
    (tmp_path / "imported.py").write_text("import sys\nIMPORTER = sys._getframe().f_back\n")
    code = f"""
import os, signal, time
{where}
with Ending() as end:
    receive(end)
    print("unbroken", flush=True)
    try:
        time.sleep({LIMIT})
    except Signalled as signalled:
        print("raised", signalled.number)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [b"unbroken", b"raised", b"15"]), done
    assert not done.stderr


@pytest.mark.parametrize("how", ["module", "script"])
@pytest.mark.parametrize("module", ["threading", "click"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_during_imports_is_no_traceback(
    tmp_path: Path, name: str, module: str, how: str
) -> None:
    start = ["-m", "bimetal"] if how == "module" else ["-c", "from bimetal.cli import main; main()"]
    command = [sys.executable, *start, "guests"]
    check_signal_while_importing(command, module, tmp_path, name, ENVIRONMENT["PYTHONPATH"])


def output_of(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=ENVIRONMENT, text=True).split()


def test_no_signal_breaks_into_an_end_that_came_by_itself() -> None:
    code = """
import os
from bimetal.cli.ending import Ending
with Ending() as end:
    with end.of(lambda: open("/dev/null"), lambda: None):
        pass
    os.kill(os.getpid(), 15)
    print("closed")
"""
    assert output_of(code) == ["closed"]


def test_a_signal_waits_for_what_must_not_be_broken_into() -> None:
    code = """
import os
from bimetal.cli.ending import Ending, Signalled
with Ending() as end:
    try:
        with end.held():
            os.kill(os.getpid(), 15)
            print("whole")
    except Signalled as signalled:
        print(signalled.number)
"""
    assert output_of(code) == ["whole", "15"]
