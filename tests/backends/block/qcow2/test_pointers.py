"""Pointers whose write fails count as not written, whatever the file holds."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bimetal.backends.block.qcow2.pointers import Pointers

OLD, NEW = array("Q", [1, 2]), array("Q", [7, 8])


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(bytes(8) + b"".join(n.to_bytes(8, "big") for n in (1, 2, 3)))
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


def test_they_are_written_and_read(fd: int) -> None:
    pointers = Pointers(fd)
    pointers.write(8, NEW, OLD)
    assert list(pointers.read(0, 4)) == [0, 7, 8, 3]


def test_a_write_that_failed_is_undone_before_the_next(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointers, pwritev = Pointers(fd), os.pwritev

    def done_and_failed(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        pwritev(fd, buffers, offset)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", done_and_failed)
        with pytest.raises(OSError, match="Input/output error"):
            pointers.write(8, NEW, OLD)
        assert os.pread(fd, 8, 16) == (8).to_bytes(8, "big")
        assert list(pointers.read(0, 4)) == [0, 1, 2, 3]
        assert list(pointers.read(16, 2)) == [2, 3]
        with pytest.raises(OSError, match="Input/output error"):
            pointers.write(24, array("Q", [9]), array("Q", [3]))
    pointers.write(24, array("Q", [9]), array("Q", [3]))
    assert list(Pointers(fd).read(0, 4)) == [0, 1, 2, 9]
