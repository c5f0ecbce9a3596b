"""The cache folder: where it is, locks between processes, links that change in one step."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.catalogue.folder import (
    cache_folder,
    link_to,
    locked,
    remove_scratch,
    scratch_folder,
)


def test_it_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "bimetal"
    assert cache_folder().is_dir()


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_without_a_usable_variable_it_is_below_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bimetal"


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BimetalError, match="XDG_CACHE_HOME"):
        cache_folder()


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
