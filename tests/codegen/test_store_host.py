"""The store on hosts where things go wrong: full and read-only disks, other processes, kill -9."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.codegen import database
from bimetal.codegen.store import CodeStore


def content(key: str, size: int = 20_000) -> bytes:
    """What stands under a key in all of these tests."""
    return hashlib.shake_128(key.encode()).digest(size)


def put(store: CodeStore, *keys: str) -> None:
    for key in keys:
        store.put(key, content(key))


def check(store: CodeStore) -> set[str]:
    """Everything that is there is right; the keys."""
    keys = store.keys()
    for key in keys:
        assert store.get(key) in (content(key), None)
    return keys


PREAMBLE = f"""
import hashlib, os, random, sys
from pathlib import Path
from bimetal.codegen.store import CodeStore
folder = Path(sys.argv[1])
{
    textwrap.dedent('''
def content(key, size=20_000):
    return hashlib.shake_128(key.encode()).digest(size)
''')
}
def say(word):
    print(word, flush=True)
"""


def process(folder: Path, script: str, *words: str) -> subprocess.Popen[str]:
    """Another process at work on the folder."""
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(other: subprocess.Popen[str]) -> str:
    assert other.stdout is not None
    return other.stdout.readline().strip()


def finish(other: subprocess.Popen[str]) -> None:
    other.communicate("\n")
    assert other.returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "code"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the store complained of; the list grows."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Handler()
    logging.getLogger("bimetal.store").addHandler(handler)
    yield lines
    logging.getLogger("bimetal.store").removeHandler(handler)


def test_a_process_that_is_killed_leaves_a_whole_store(folder: Path, warnings: list[str]) -> None:
    chance = random.Random(5)
    for trial in range(8):
        other = process(
            folder,
            """
            store = CodeStore(folder, limit=300_000)
            store.put("first", content("first"))
            say("begun")
            for number in range(100_000):
                key = f"{sys.argv[2]} {number}"
                store.put(key, content(key))
                if number % 20 == 19:
                    store.prune()
            """,
            str(trial),
        )
        assert line(other) == "begun"
        store = CodeStore(folder, limit=300_000)
        before = len(store.keys())
        for _ in range(chance.randrange(1, 60)):
            before += len(check(store))
        other.send_signal(signal.SIGKILL)
        other.wait()
        check(store)
        store.close()
        assert other.stdout
        other.stdout.close()
        assert other.stdin
        other.stdin.close()
    assert check(CodeStore(folder))
    assert not warnings


def test_processes_at_once_find_what_the_others_put(folder: Path, warnings: list[str]) -> None:
    others = [
        process(
            folder,
            """
            store = CodeStore(folder)
            for number in range(60):
                key = f"{sys.argv[2]} {number}"
                store.put(key, content(key))
                store.touch(store.keys())
                assert store.get(key) == content(key)
            store.close()
            """,
            name,
        )
        for name in ("one", "two", "three")
    ]
    for other in others:
        finish(other)
    assert check(CodeStore(folder)) == {
        f"{n} {m}" for n in ("one", "two", "three") for m in range(60)
    }
    assert not warnings


def test_one_that_sets_the_file_aside_harms_no_other(folder: Path, warnings: list[str]) -> None:
    ours = CodeStore(folder)
    put(ours, "before")
    other = process(
        folder,
        """
        store = CodeStore(folder)
        store._database.damaged("so they say")
        store.put("theirs", content("theirs"))
        say("done")
        input()
        store.put("theirs too", content("theirs too"))
        """,
    )
    assert line(other) == "done"
    assert ours.get("before") == content("before")
    put(ours, "ours")
    ours.close()
    late = CodeStore(folder)
    put(late, "late")
    late.close()
    finish(other)
    assert check(CodeStore(folder)) == {"ours", "theirs", "theirs too", "late"}
    assert not warnings


@pytest.mark.parametrize("how", ["file", "folder", "companions"])
def test_what_is_deleted_underneath_is_missed_by_nobody(
    folder: Path, warnings: list[str], how: str
) -> None:
    store = CodeStore(folder)
    put(store, "a")
    match how:
        case "file":
            store.path.unlink()
        case "folder":
            shutil.rmtree(folder)
        case "companions":
            for path in folder.glob("*.sqlite-*"):
                path.unlink()
    put(store, "b")
    assert store.get("b") == content("b")
    store.prune(0)
    store.close()
    again = CodeStore(folder)
    put(again, "c")
    assert "c" in check(again)


def test_a_lock_that_is_not_let_go_is_waited_for_once(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    store = CodeStore(folder)
    put(store, "a")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        put(store, *"bcdefgh")
        store.touch("abc")
        assert store.get("a") == content("a")
        assert store.prune(1) == 0
        store.close()
    (said,) = warnings
    assert "locked" in said
    assert check(CodeStore(folder)) == {"a"}


def test_one_that_is_in_use_with_a_log_is_used_so(folder: Path, warnings: list[str]) -> None:
    put(CodeStore(folder), "a")
    with closing(sqlite3.connect(folder / "code.sqlite", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("SELECT count(*) FROM object").fetchall()
        store = CodeStore(folder)
        put(store, "b")
        assert check(store) == {"a", "b"}
        store.close()
    store = CodeStore(folder)
    assert check(store) == {"a", "b"}
    assert not list(folder.glob("*-wal"))
    assert not warnings


def test_who_cannot_open_it_does_without(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    put(CodeStore(folder), "a")
    with (folder / "code.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store = CodeStore(folder)
        put(store, "b")
        assert store.get("a") is None
        assert len(warnings) == 1
    assert check(CodeStore(folder)) == {"a"}


def test_a_file_system_without_locks(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = CodeStore(folder)
    put(store, "a")
    assert check(store) == {"a"}
    assert store.claim() is None
    assert not store.is_claimed()


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
store = CodeStore(folder)
found = [store.get(key) == content(key) for key in "ab"]
for number in range(40):
    store.put(f"{number}", content(f"{number}"))
again = [store.get(key) == content(key) for key in "ab"]
store.prune(0)
store.close()
say(f"{found} {again}")
"""


def test_a_disk_without_room_is_read(folder: Path, warnings: list[str]) -> None:
    store = CodeStore(folder)
    put(store, "a", "b")
    store.close()
    other = process(folder, FULL)
    assert line(other) == "[True, True] [True, True]"
    finish(other)
    check(CodeStore(folder))
    assert not warnings


def test_a_disk_without_room_for_anything(folder: Path) -> None:
    other = process(folder, FULL.replace("150_000", "100"))
    assert line(other) == "[False, False] [False, False]"
    finish(other)
    store = CodeStore(folder)
    put(store, "a")
    assert check(store) == {"a"}


def test_a_folder_that_cannot_be_written_is_read(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CodeStore(folder)
    put(store, "a", "b")
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE object SET content = x'00' WHERE key = 'b'")
    connection.commit()
    connection.close()
    before = store.path.read_bytes()
    system_open = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return system_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    store = CodeStore(folder)
    put(store, "c")
    store.touch("a")
    assert check(store) == {"a", "b"}
    assert (store.get("a"), store.get("b")) == (content("a"), None)
    assert store.usage().objects == 2
    store.close()
    assert store.path.read_bytes() == before
    assert all("Read-only" in line or "dropped" in line for line in warnings)
    with pytest.raises(BimetalError, match="cannot be removed: Read-only"):
        store.prune(0)
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    assert CodeStore(folder).keys() == set()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["code.sqlite", "code.sqlite-journal", "code.sqlite-wal"])
def test_files_that_others_could_have_written_are_refused(folder: Path, name: str) -> None:
    store = CodeStore(folder)
    put(store, "a")
    shutil.copytree(folder, folder.with_name("copy"))
    copy = folder.with_name("copy")
    copy.chmod(0o700)
    (copy / name).touch()
    (copy / name).chmod(0o666)
    with pytest.raises(BimetalError, match="cannot be trusted"):
        CodeStore(copy)
