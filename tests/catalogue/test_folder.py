"""Folders in the cache: locks between processes, links that change in one step."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from bimetal.catalogue.folder import link_to, locked, remove_scratch, scratch_folder


def _hold(path: Path, started: object, release: object) -> None:
    with locked(path, lambda: None):
        started.set()  # type: ignore[attr-defined]
        release.wait(30)  # type: ignore[attr-defined]


def test_a_second_process_waits_and_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "lock", started, release))
    other.start()
    assert started.wait(30)
    with locked(tmp_path / "lock", release.set):  # we would wait for ever unless on_wait is called
        assert release.is_set()
    other.join(30)
    assert other.exitcode == 0


def test_scratch_is_gone_afterwards_and_after_a_kill(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "thing") as folder:
        (folder / "half").write_text("done")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    (tmp_path / folder.name).mkdir()  # as a killed process would leave it
    (tmp_path / "whole").touch()
    remove_scratch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_link_is_replaced(tmp_path: Path) -> None:
    link_to(tmp_path / "current", "one")
    link_to(tmp_path / "current", "two")
    assert (tmp_path / "current").readlink() == Path("two")
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_a_copy_without_links_is_replaced_by_one(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "kernel").touch()
    link_to(tmp_path / "current", "one")
    assert (tmp_path / "current").readlink() == Path("one")


def test_a_file_system_without_locks_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", lambda: None):
        assert (tmp_path / "lock").exists()
