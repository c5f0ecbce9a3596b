"""Files that guests start with: read as far as they go, and no further."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware import program
from bimetal.firmware.program import read_file


def test_a_file_takes_no_more_room_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(b"kernel" * 1000)
    script = f"""
import resource
from bimetal.firmware.program import read_file
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
assert read_file({str(path)!r}, "kernel") == b"kernel" * 1000
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_what_has_no_size_is_read_to_its_end(tmp_path: Path) -> None:
    assert b"processor" in read_file("/proc/cpuinfo", "list")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["/bin/sh", "-c", f"printf '%0100000d' 7 > {pipe}"])
    assert len(read_file(str(pipe), "kernel")) == 100_000
    assert writer.wait() == 0


def test_what_is_too_large_is_refused_before_it_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "LARGEST", 100_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["/bin/sh", "-c", f"yes > {pipe} 2>/dev/null"])
    with pytest.raises(BimetalError, match="larger than"):
        read_file(str(pipe), "kernel")
    writer.wait(30)
