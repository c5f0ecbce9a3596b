"""The store of compiled code: whole objects or none, and nothing that others put there."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.codegen.store import CodeStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "code"


def test_what_is_put_is_found_by_another_process_s_store(folder: Path) -> None:
    first, second = CodeStore(folder), CodeStore(folder)
    first.put("key", b"one", "a")
    first.put("key", b"two", "b")
    assert sorted(second.parts("key")) == [("a", b"one"), ("b", b"two")]
    assert second.get("key", "b") == b"two"
    assert second.get("other") is None
    assert second.keys() == {"key"}


def test_only_the_owner_may_read_or_write(folder: Path) -> None:
    store = CodeStore(folder)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("which", ["folder", "file"])
def test_a_place_that_others_can_write_is_refused(folder: Path, which: str) -> None:
    store = CodeStore(folder)
    store.close()
    (folder if which == "folder" else store.path).chmod(0o722)
    with pytest.raises(BimetalError, match="cannot be trusted"):
        CodeStore(folder)


def test_damaged_content_is_never_returned(folder: Path) -> None:
    store = CodeStore(folder)
    store.put("key", b"good code")
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE object SET content = ?", (b"evil code",))
    connection.commit()
    connection.close()
    assert store.get("key") is None
    assert store.keys() == set()


def test_keys_of_one_family_are_asked_for_alone(folder: Path) -> None:
    store = CodeStore(folder)
    for key in ("ab 1", "ab 2", "ab", "abc 1", "aa 9", "interpreter ab"):
        store.put(key, b"code")
    assert store.keys("ab") == {"ab 1", "ab 2"}
    assert store.keys("none") == set()
    assert [store.has(family) for family in ("ab", "a", "none")] == [True, False, False]


def test_a_damaged_file_is_set_aside(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "code.sqlite").write_bytes(b"no database" * 1000)
    (folder / "code.sqlite").chmod(0o600)
    store = CodeStore(folder)
    store.put("key", b"content")
    assert store.get("key") == b"content"
    assert len(list(folder.glob("code.damaged-*"))) == 1


def test_pruning_takes_what_was_used_longest_ago(folder: Path) -> None:
    store = CodeStore(folder, limit=2500)
    for n in range(4):
        store.put(f"key{n}", bytes(1000))
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE object SET used = used - 10 * substr(key, 4)")
    connection.commit()
    connection.close()
    assert store.prune() == 2
    assert store.keys() == {"key0", "key1"}


def test_one_at_a_time_adds_in_the_background(folder: Path) -> None:
    first, second = CodeStore(folder), CodeStore(folder)
    assert not first.is_claimed()
    claim = first.claim()
    assert claim is not None
    assert second.claim() is None
    assert second.is_claimed()
    os.close(claim)
    assert not second.is_claimed()
    again = second.claim()
    assert again is not None
    os.close(again)


def test_one_process_at_a_time_has_its_turn(folder: Path) -> None:
    store, lock = CodeStore(folder), folder / "turn.lock"
    with store.turn(), lock.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_who_waits_for_its_turn_can_say_so_before(folder: Path) -> None:
    """Here the other one is done as soon as somebody waits."""
    store, told = CodeStore(folder), []
    with store.turn(lambda: told.append("nobody else is there")):
        assert not told
    with (folder / "turn.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def waiting() -> None:
            told.append("waiting")
            other.close()

        with store.turn(waiting):
            assert told == ["waiting"]


def test_without_a_disk_nobody_waits_for_a_turn(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("a file where the folder should be")
    taken = []
    with CodeStore(tmp_path / "code" / "deeper").turn():
        taken.append(True)
    assert taken


def test_without_a_disk_everything_is_a_miss(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("a file where the folder should be")
    store = CodeStore(tmp_path / "code" / "deeper")
    store.put("key", b"content")
    assert store.get("key") is None
    assert store.usage().objects == 0
    assert store.claim() is None
    assert not store.is_claimed()


def test_a_key_that_is_damaged_between_others_is_not_taken_for_theirs(folder: Path) -> None:
    store = CodeStore(folder)
    for part in ("part-a", "part-b", "part-c"):
        store.put("page", part.encode(), part)
    store.close()
    content = store.path.read_bytes()
    assert content.count(b"pagepart-b") == 1
    store.path.write_bytes(content.replace(b"pagepart-b", b"pagEpart-b"))
    store = CodeStore(folder)
    assert "part-b" not in dict(store.parts("page"))
    assert store.keys() == set()
    store.put("page", b"part-b", "part-b")
    assert CodeStore(folder).parts("page") == [("part-b", b"part-b")]
