"""A file that replaces another one, or does not."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.snapshot.replacing import replacing

WRITES_FOR_EVER = """
import os, sys
from bimetal.snapshot.replacing import replacing
with replacing(sys.argv[1]) as fd:
    os.write(fd, b"new" * 1000)
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(str(path)) as fd:
        os.write(fd, b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("nameless", [True, False])
def test_a_failure_leaves_what_was_there(
    nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    if not nameless:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_WRONLY)  # as hosts without it
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"), replacing(str(path)):
        raise full
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    with replacing(str(path)) as fd:
        os.write(fd, b"newer")
    assert path.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["file"]


def test_nothing_is_left_of_a_process_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", WRITES_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
