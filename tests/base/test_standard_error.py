"""Processes go on when nobody takes what they print on standard error."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from bimetal.base.standard_error import lose_what_it_does_not_take
lose_what_it_does_not_take()
print("Grüße", file=sys.stderr)
sys.stderr.write("x" * 100_000)
sys.stderr.flush()
print("goes on")
"""


def run(errors: int | None) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=errors, check=True
    )


def test_what_it_takes_is_there() -> None:
    assert run(subprocess.PIPE).stderr == "Grüße\n".encode() + b"x" * 100_000


@pytest.mark.parametrize("kind", ["full", "pipe"])
def test_what_it_does_not_take_is_lost(kind: str) -> None:
    if kind == "full":
        errors = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, errors = os.pipe()
        os.close(reader)
    try:
        assert run(errors).stdout == b"goes on\n"
    finally:
        os.close(errors)
