"""bimetal run --save and --restore, --savevm and --loadvm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from bimetal import ExitCode
from tests.boot.bare import END, FAIL_WITH_A0, write_program
from tests.boot.counting import expected, riscv_program

SOURCE = Path(__file__).resolve().parents[2] / "src"
LIMIT = 120
COMMAND = [sys.executable, "-m", "bimetal", "run"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}
ENVIRONMENT["TERM"] = "dumb"


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The options that run an endless program."""
    kernel = riscv_program(tmp_path / "program")
    return ["--kernel", str(kernel), "--bios", "none", "--memory", "8M", "--accel", "interp"]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], env=ENVIRONMENT, capture_output=True, text=True,
        timeout=LIMIT, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_machine_is_saved_at_a_text_and_goes_on(program: list[str], tmp_path: Path) -> None:
    snapshot, again = tmp_path / "a", tmp_path / "b"
    first = run(*program, "--save", snapshot, "--save-at", expected(30))
    assert first.returncode == 0, first.stderr
    assert f"bimetal run --restore {snapshot} goes on" in first.stderr
    following = expected(len(first.stdout) + 40)[len(first.stdout) :]
    second = run(
        "--restore", snapshot, "--accel", "interp", "--save", again, "--save-at", following
    )
    assert second.returncode == 0, second.stderr
    printed = first.stdout + second.stdout
    assert printed == expected(len(printed))
    assert again.exists()


def test_a_machine_is_kept_in_its_disk_and_goes_on(program: list[str], tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    make = [*COMMAND[:-1], "image", "create", "-q", "-f", "qcow2", str(image), "16M"]
    subprocess.run(make, env=ENVIRONMENT, check=True)
    words = [*program, "--disk", str(image), "--savevm", "here"]
    first = run(*words, "--save-at", expected(30))
    assert first.returncode == 0, first.stderr
    assert "the same command with --loadvm here goes on" in first.stderr
    following = expected(len(first.stdout) + 40)[len(first.stdout) :]
    second = run(*words, "--loadvm", "here", "--save-at", following)
    assert second.returncode == 0, second.stderr
    printed = first.stdout + second.stdout
    assert printed == expected(len(printed))
    missing = run(*words, "--loadvm", "there")
    assert "has no snapshot 'there'\n" in missing.stderr
    assert "it has 'here'" in missing.stderr
    assert missing.returncode == 66


def test_a_key_and_a_signal_save_it(program: list[str], tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    words = [*COMMAND[1:], *program, "--save", str(snapshot)]
    child = pexpect.spawn(sys.executable, words, env=ENVIRONMENT, encoding="utf-8", timeout=LIMIT)
    child.expect_exact(expected(5))
    child.send("\x01s")
    child.expect_exact("bimetal: saved")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    words = [*COMMAND[1:], "--restore", str(snapshot), "--accel", "interp", "--save", str(snapshot)]
    child = pexpect.spawn(sys.executable, words, env=ENVIRONMENT, encoding="utf-8", timeout=LIMIT)
    child.expect(re.compile("[a-p]{9}"))
    child.kill(signal.SIGUSR1)
    child.expect_exact("bimetal: saved")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_failure_to_save_does_not_end_the_machine(program: list[str], tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.write_text("chapter one")
    words = [*COMMAND[1:], *program, "--save", str(precious)]
    child = pexpect.spawn(sys.executable, words, env=ENVIRONMENT, encoding="utf-8", timeout=LIMIT)
    child.expect_exact(expected(5))
    child.send("\x01s")
    child.expect_exact("is there, and is no snapshot")
    child.expect(re.compile("[a-p]{9}"))
    child.send("\x01x")
    child.expect(pexpect.EOF)
    child.close()
    assert precious.read_text() == "chapter one"
    assert child.exitstatus == ExitCode.IO_ERROR


@pytest.mark.parametrize(
    ("ends", "code"), [(END, ExitCode.IO_ERROR), (("addi a0, zero, 7", *FAIL_WITH_A0), 7)]
)
def test_a_guest_that_ends_before_it_is_saved_is_no_success(
    tmp_path: Path, ends: tuple[str, ...], code: int
) -> None:
    kernel = write_program(tmp_path / "p", *ends)
    words = ["--kernel", str(kernel), "--bios", "none", "--memory", "8M", "--accel", "interp"]
    done = run(*words, "--save", tmp_path / "state", "--save-at", "never")
    assert done.returncode == code
    assert "the machine is not saved: its run ended before" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_guest_that_ends_with_the_text_was_asked_too_late(tmp_path: Path) -> None:
    letters = [line for letter in b"bye" for line in (f"addi t1, zero, {letter}", "sb t1, 0(t0)")]
    kernel = write_program(tmp_path / "p", "lui t0, 0x10000", *letters, *END)
    words = ["--kernel", str(kernel), "--bios", "none", "--memory", "8M", "--accel", "interp"]
    done = run(*words, "--save", tmp_path / "state", "--save-at", "bye")
    assert done.returncode == ExitCode.IO_ERROR
    assert "the machine has ended" in done.stderr
    assert "its run ended before" not in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--restore", "missing"), 66, "the snapshot missing cannot be read: No such file"),
        (("--restore", "x", "--memory", "1G"), 64, "leave --memory away"),
        (("debian-riscv64", "--restore", "x"), 64, "leave a guest away"),
        (("--save-at", "x"), 64, "add --save FILE"),
        (("--save", "x", "--savevm", "x"), 64, "give one"),
        (("--restore", "x", "--loadvm", "x"), 64, "leave --loadvm away"),
        (("--trust",), 64, "add --restore FILE"),
        (("--new-macs",), 64, "--new-macs is about a snapshot: add --restore FILE"),
        (("--restore", __file__), 65, "is no snapshot of a machine"),
    ],
)
def test_what_makes_no_sense_is_said(words: tuple[str, ...], code: int, why: str) -> None:
    done = run(*words)
    assert why in done.stderr
    assert done.returncode == code
