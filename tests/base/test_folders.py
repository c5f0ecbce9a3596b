"""The user's folders: where they are, and who may write there."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.base.folders import cache_folder, cache_home, check_private, make_private


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


@pytest.mark.parametrize("home", [None, "", "relative", "./x"])
def test_without_a_home_in_the_environment_it_is_the_user_s(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    assert cache_home() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache"


def test_a_user_of_whom_nothing_is_known_has_no_home_in_the_current_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert cache_home() == Path("/.cache")


def test_what_is_made_is_the_user_s_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    check_private(tmp_path / "a" / "b")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_cache_that_others_can_write_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder().chmod(mode)
    with pytest.raises(BimetalError, match="cannot be trusted"):
        cache_folder()


def test_a_cache_of_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    if os.getuid() == 0:
        os.chown(folder, 12345, 12345)
    else:  # only the superuser gives files away
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BimetalError, match="another user"):
        cache_folder()
