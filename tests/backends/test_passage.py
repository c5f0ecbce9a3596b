"""Ways by which machines leave: what is safe when one is finished."""

from __future__ import annotations

import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bimetal.backends.passage import Passage, await_passage, open_passage
from bimetal.base.errors import BimetalError


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


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def full(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("kind", ["unix", "tcp", "exec", "file"])
def test_nothing_is_left_of_a_way_that_cannot_be(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"unix": tmp_path / "way", "tcp": "127.0.0.1:0", "exec": "exec sleep 600",
             "file": tmp_path / "state"}[kind]  # fmt: skip
    before = open_files()
    with ThreadPoolExecutor() as threads, monkeypatch.context() as there:
        if kind in ("unix", "tcp"):
            where, come = await_passage(f"{kind}:{place}")
            coming = threads.submit(come)
        there.setattr(os, "set_blocking", full)
        if kind in ("unix", "tcp"):
            with pytest.raises(BimetalError, match="Too many open files"):
                open_passage(where)
            with pytest.raises(BimetalError, match="nobody can come: Too many open files"):
                coming.result()
        else:
            with pytest.raises(BimetalError, match="Too many open files"):
                open_passage(f"{kind}:{place}")
    assert open_files() == before
    assert not (tmp_path / "way").exists()


@pytest.mark.parametrize("place", ["unix:{folder}/way", "tcp:127.0.0.1:0"])
def test_who_waits_for_somebody_hears_when_nobody_is_to_come(place: str, tmp_path: Path) -> None:
    before = open_files()
    _, come = await_passage(place.format(folder=tmp_path))
    with ThreadPoolExecutor() as threads:
        coming = threads.submit(come)
        come.close()
        with pytest.raises(BimetalError, match="nobody can come"):
            coming.result()
    assert open_files() == before
    assert not (tmp_path / "way").exists()


def test_a_file_that_cannot_be_gone_on_with(tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(BimetalError, match="is no place"):
        open_passage(f"file:{tmp_path / 'state'},offset={'9' * 30}")
    with pytest.raises(BimetalError, match=r"File too large|Invalid argument"):
        open_passage(f"file:{tmp_path / 'state'},offset={'9' * 18}")
    assert open_files() == before


def test_another_side_that_does_nothing_is_not_waited_for_for_ever() -> None:
    one, two = socket.socketpair()
    with two, Passage(one.detach()) as way:
        way.patience = 0.01
        with pytest.raises(TimeoutError, match="the other side does nothing"):
            way.read(1)
        with pytest.raises(TimeoutError, match="the other side does nothing"):
            way.write(bytes(1 << 24))
