"""``bimetal run --qmp``: a machine that another program controls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.boot.bare import BASE, write_program
from tests.cli.conftest import SOURCE, Cli
from tests.control.talker import Talker

FOREVER = f"jal zero, {BASE:#x}"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A program that does nothing for ever."""
    return write_program(tmp_path / "forever.elf", FOREVER)


def command(kernel: Path, *words: str) -> list[str]:
    options = ["--kernel", str(kernel), "--bios", "none", "--accel", "interp", "--memory", "16M"]
    return [sys.executable, "-W", "error", "-m", "bimetal", "run", *options, *words]


@contextmanager
def run(kernel: Path, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, which is over when this is left."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}
    with subprocess.Popen(
        command(kernel, *words), env=environment, text=True, **options
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_socket(place: Path, process: subprocess.Popen[str]) -> None:
    while not place.exists():
        assert process.poll() is None


def wait_until_it_runs(client: Talker) -> None:
    while not client.value("query-status")["running"]:
        pass


def test_a_client_is_waited_for_and_ends_the_run(kernel: Path, tmp_path: Path) -> None:
    place = tmp_path / "qmp"
    words = ("--serial", "none", "--name", "crab", "-S", "--qmp", f"unix:{place},server=on,wait=on")
    with run(kernel, *words) as process:
        wait_for_socket(place, process)
        with Talker(place) as client:
            assert client.value("query-name") == {"name": "crab"}
            assert client.value("query-status")["status"] == "prelaunch"
            client.value("cont")
            wait_until_it_runs(client)
            client.value("quit")
            assert client.event("SHUTDOWN")["data"]["reason"] == "host-qmp-quit"
        assert process.wait(60) == 0
    assert not place.exists()


def test_a_signal_is_told_of(kernel: Path, tmp_path: Path) -> None:
    place = tmp_path / "qmp"
    words = ("--serial", "none", "--qmp", f"unix:{place},server=on,wait=on")
    with run(kernel, *words) as process:
        wait_for_socket(place, process)
        with Talker(place) as client:
            wait_until_it_runs(client)
            process.terminate()
            assert client.event("SHUTDOWN")["data"]["reason"] == "host-signal"
        assert process.wait(60) == -15
    assert not place.exists()


def test_standard_input_and_output(kernel: Path) -> None:
    asked = '{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n{"execute":"quit"}\n'
    words = ("--serial", "none", "--qmp", "stdio")
    with run(kernel, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(asked)
        process.stdin.flush()
        messages = [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 0
    assert "QMP" in messages[0]
    answers = [each["return"] for each in messages if "return" in each]
    assert [answers[0], answers[1].keys(), answers[2]] == [{}, {"running", "status"}, {}]
    assert [each["event"] for each in messages if "event" in each] == ["SHUTDOWN"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--qmp", "stdio"], "cannot share standard input and output"),
        (["--paused"], "add --qmp"),
        (["--qmp", "carrier:pigeon", "--serial", "none"], "that is no place"),
        (["--qmp", "unix:/x", "--uuid", "7", "--serial", "none"], "not a valid UUID"),
    ],
)
def test_what_cannot_be(cli: Cli, kernel: Path, words: list[str], why: str) -> None:
    outcome = cli("run", "--kernel", str(kernel), "--bios", "none", *words)
    assert outcome.code == 64
    assert why in outcome.err
