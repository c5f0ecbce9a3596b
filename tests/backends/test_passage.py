"""Ways by which machines leave: what is safe when one is finished."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bimetal.backends.passage import Passage, await_passage, open_passage


def test_what_goes_to_a_file_is_safe_or_that_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host may find out only when it writes to its disk (fsync(2), EIO)."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_passage(f"file:{tmp_path / 'state'}") as way:
        way.write(b"state")
        way.finish()
    assert (tmp_path / "state").read_bytes() == b"state"
    monkeypatch.setattr(os, "fsync", fail)
    with open_passage(f"file:{tmp_path / 'state'}") as way:
        way.write(b"state")
        with pytest.raises(OSError, match="Input/output error"):
            way.finish()


def test_a_pipe_need_not_be_made_safe() -> None:
    read, write = os.pipe()
    with Passage(write) as way:
        way.write(b"state")
        way.finish()
    assert os.read(read, 10) == b"state"
    os.close(read)


def test_a_program_has_taken_all_when_its_way_is_finished(tmp_path: Path) -> None:
    with open_passage(f"exec:cat > {tmp_path / 'state'}") as way:
        way.write(b"state")
        way.finish()
    assert (tmp_path / "state").read_bytes() == b"state"
    with open_passage("exec:cat > /dev/null; exit 3") as way, pytest.raises(OSError, match="3"):
        way.finish()


@pytest.mark.parametrize(
    "place",
    [
        "exec:exec sleep 600",
        "exec:trap '' PIPE; cat > /dev/null",
        "exec:trap '' TERM; exec sleep 600",
    ],
)
def test_a_program_ends_when_its_way_is_given_up(place: str) -> None:
    """Nobody waits for what it would still do."""
    with open_passage(place) as way:
        way.write(b"state")
        way.give_up()
        with pytest.raises(OSError, match="cancelled"):
            way.write(b"more")


def test_a_program_that_does_not_end_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """It has all, and does not tell whether that is safe: what was sent may not be there."""
    os.mkfifo(has_all := tmp_path / "has all")
    with open_passage(f"exec:cat > /dev/null; : > '{has_all}'; exec sleep 600") as way:
        way.write(b"state")
        with ThreadPoolExecutor() as threads:
            finished = threads.submit(way.finish)
            has_all.read_bytes()
            way.give_up()
            with pytest.raises(OSError, match="cancelled"):
                finished.result()


@pytest.mark.parametrize(
    "rest", ["exit 3", "exec >&-; exec sleep 600", "trap '' TERM; exec sleep 600"]
)
def test_a_program_that_has_sent_all_is_not_waited_for_for_ever(rest: str) -> None:
    """What it does then is its own affair."""
    _, come = await_passage(f"exec:printf state; {rest}")
    with come() as way:
        assert way.read(5) == b"state"
