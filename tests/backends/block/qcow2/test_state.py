"""States of machines in snapshots, as qemu-img sees them and as QEMU makes them."""

from __future__ import annotations

import errno
import json
import os
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.changes import (
    apply_snapshot,
    create_snapshot,
    delete_snapshot,
    find_snapshot,
)
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.state import read_state, stored_state
from tests.backends.block.qcow2.qemu import CLEAN, KIB, MIB, check, create, img, needs_qemu
from tests.backends.block.qcow2.test_space import Host

pytestmark = needs_qemu


@pytest.mark.parametrize(
    "options",
    [{}, {"cluster_size": 512}, {"cluster_size": 16384, "extended_l2": "on"}, {"compat": "0.10"}],
    ids=str,
)
def test_a_state_lies_in_the_image_beside_the_disk(tmp_path: Path, options: Any) -> None:
    path = create(tmp_path / "disk.qcow2", 300 * KIB, **options)
    state = random.Random(1).randbytes(3 * MIB // 2 + 77)
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        disk.write(0, b"before" * 512)
        pieces = (state[at : at + 100_000] for at in range(0, len(state), 100_000))
        with stored_state(disk, pieces) as stored:
            create_snapshot(disk, "running", 10**18, state=stored, clock=5 * 10**9 + 7)
        length = stored[1]
        disk.write(0, b"behind" * 512)
    assert check(path) == CLEAN
    (told,) = json.loads(img("info", "--output=json", path))["snapshots"]
    assert (told["vm-state-size"], told["vm-clock-sec"], told["vm-clock-nsec"]) == (length, 5, 7)
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        snapshot = find_snapshot(disk, "running")
        assert read_state(disk, snapshot, 0, length) == state
        assert read_state(disk, snapshot, 99_999, 12) == state[99_999:100_011]
        apply_snapshot(disk, "running")
        assert disk.read(0, 3072) == b"before" * 512
        assert read_state(disk, find_snapshot(disk, "running"), 0, length) == state
    assert check(path) == CLEAN
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        delete_snapshot(disk, "running")
    assert check(path) == CLEAN
    assert path.stat().st_blocks * 512 < 3 * MIB // 2


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EFBIG])
@pytest.mark.parametrize("fits", [0, 1, 2, 5, 10, 14, 15, 16, 17, 18, 19])
def test_a_state_for_which_there_is_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, fits: int
) -> None:
    path = create(tmp_path / "disk.qcow2", 300 * KIB)
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        disk.write(0, b"before" * 512)
        disk.flush()
        before = disk.structure()
        pieces = (bytes([at]) * MIB for at in range(1, 18))
        with monkeypatch.context() as patch:
            host = Host(patch, error, random.Random(fits))
            host.left = fits
            with (
                pytest.raises(OSError, match=os.strerror(error)),
                stored_state(disk, pieces) as stored,
            ):
                create_snapshot(disk, "running", 10**18, state=stored)
        assert disk.structure() == before
        disk.write(3072, b"behind" * 512)
    assert check(path) == CLEAN
    assert path.stat().st_blocks * 512 < MIB
    with closing(open_disk(str(path))) as disk:
        assert disk.read(0, 6144) == b"before" * 512 + b"behind" * 512


def test_a_state_that_a_snapshot_has_stays_when_a_signal_comes(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 300 * KIB)
    state = random.Random(1).randbytes(MIB)
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)

        def keep() -> None:
            with stored_state(disk, [state]) as stored:
                create_snapshot(disk, "running", 10**18, state=stored)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            keep()
        disk.write(0, b"behind" * 512)
        disk.flush()
        snapshot = find_snapshot(disk, "running")
        assert read_state(disk, snapshot, 0, MIB) == state
    assert check(path) == CLEAN


def test_a_state_that_is_broken_off_is_free_once_the_image_is_opened_again(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 300 * KIB)
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        with pytest.raises(KeyboardInterrupt), stored_state(disk, [bytes(range(256)) * 4 * KIB]):
            raise KeyboardInterrupt
    with closing(open_disk(str(path))) as disk:
        disk.write(0, b"behind" * 512)
    assert check(path) == CLEAN
    assert path.stat().st_size < MIB
