"""Locks: two machines do not write one image, whichever program runs them."""

from __future__ import annotations

import errno
import fcntl
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError
from tests.host import programs


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(65536))
    return str(path)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [("write", "write", False), ("write", "read", False), ("read", "write", False),
     ("read", "read", True), ("read", "snapshot", True), ("snapshot", "write", False)],
)  # fmt: skip
def test_who_may_open_what_together(path: str, first: str, second: str, together: bool) -> None:
    def start(how: str) -> None:
        opened.append(open_disk(path, readonly=how == "read", snapshot=how == "snapshot"))

    opened: list[object] = []
    start(first)
    if together:
        start(second)
    else:
        with pytest.raises(BimetalError, match="in use by another machine"):
            start(second)
        disk = opened.pop()
        assert hasattr(disk, "close")
        disk.close()
        start(second)
    for disk in opened:
        assert hasattr(disk, "close")
        disk.close()


def test_a_refused_opening_leaves_no_lock_behind(path: str) -> None:
    writer = open_disk(path)
    for _ in range(3):
        with pytest.raises(BimetalError):
            open_disk(path)
    writer.close()
    open_disk(path).close()


def test_an_image_that_another_machine_has_is_not_taken_again(path: str) -> None:
    """Nor does who has asked for it stand in the way of those who come after that."""
    first = open_disk(path)
    first.let_go()
    second = open_disk(path)
    with pytest.raises(BlockingIOError):
        first.take_again()
    second.close()
    third = open_disk(path)
    third.close()
    first.close()


def test_locks_may_be_left_out(path: str) -> None:
    writer = open_disk(path)
    open_disk(path, lock=False).close()
    writer.close()


def test_a_file_system_without_locks_is_used_with_a_warning(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    image = open_disk(path)
    assert isinstance(image, RawImage)
    assert sum(image._file.log.counts.values()) == 1
    assert not image.exclusive
    assert not open_disk(path, readonly=True, lock=False).exclusive
    image.close()


def test_whether_locks_tell_who_writes(path: str) -> None:
    """Also before there are any: whoever waits for an image has not locked it."""
    with closing(open_disk(path)) as image:
        assert (image.writes, image.exclusive) == (True, True)
        with closing(open_disk(path, readonly=True, lock=False)) as looked_at:
            assert (looked_at.writes, looked_at.exclusive) == (False, True)
    with closing(open_disk(path, snapshot=True)) as layered:
        assert not layered.writes


needs_qemu = programs("qemu-io")


@needs_qemu
def test_qemu_respects_our_locks(path: str) -> None:
    command = ["qemu-io", "-f", "raw", "-c", "write 0 512", path]
    image = open_disk(path)
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "lock" in refused.stderr
    image.close()
    subprocess.run(command, capture_output=True, check=True)


@needs_qemu
def test_we_respect_the_locks_of_qemu(path: str) -> None:
    with subprocess.Popen(
        ["qemu-io", "-f", "raw", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("length\n")
        other.stdin.flush()
        while "64 KiB" not in other.stdout.readline():
            assert other.poll() is None
        with pytest.raises(BimetalError, match="in use by another machine"):
            open_disk(path)
        with pytest.raises(BimetalError, match="in use by another machine"):
            open_disk(path, readonly=True)
        other.stdin.close()
    open_disk(path).close()
