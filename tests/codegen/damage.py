"""Damage done to a folder with a store: to the bytes of its files, to its rows, to the folder."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

__all__ = ["DAMAGES", "Damage"]

Damage = Callable[[Path, random.Random], None]
PAGE = 4096


def _file(folder: Path, chance: random.Random) -> Path:
    """The data base, or its journal, which holds what was there before what was written last."""
    return folder / chance.choice(("code.sqlite", "code.sqlite", "code.sqlite-journal"))


def _rewrite(path: Path, change: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def bits(folder: Path, chance: random.Random) -> None:
    """Some bits are the other way round."""

    def flip(content: bytearray) -> None:
        for _ in range(chance.choice((1, 1, 1, 3, 30))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)

    _rewrite(_file(folder, chance), flip)


def header_bits(folder: Path, chance: random.Random) -> None:
    """A bit of the file's header, or of the schema behind it."""
    end = chance.choice((100, PAGE))

    def flip(content: bytearray) -> None:
        content[chance.randrange(end)] ^= 1 << chance.randrange(8)

    _rewrite(folder / "code.sqlite", flip)


def zeros(folder: Path, chance: random.Random) -> None:
    """A block of zeros."""

    def clear(content: bytearray) -> None:
        size = chance.choice((16, 512, PAGE, 16 * PAGE))
        start = chance.randrange(len(content)) // size * size
        content[start : start + size] = bytes(len(content[start : start + size]))

    _rewrite(_file(folder, chance), clear)


def garbage(folder: Path, chance: random.Random) -> None:
    """A block of another file."""

    def scribble(content: bytearray) -> None:
        size, start = chance.choice((4, 64, 512, PAGE)), chance.randrange(len(content))
        content[start : start + size] = chance.randbytes(len(content[start : start + size]))

    _rewrite(_file(folder, chance), scribble)


def truncation(folder: Path, chance: random.Random) -> None:
    """The end is missing, or all of it."""
    path = _file(folder, chance)
    size = path.stat().st_size
    os.truncate(path, chance.choice((0, chance.randrange(size), size // PAGE // 2 * PAGE)))


def shuffled(folder: Path, chance: random.Random) -> None:
    """Pages stand in the places of others."""

    def shuffle(content: bytearray) -> None:
        pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
        for _ in range(chance.choice((1, 1, 5))):
            one, other = chance.randrange(len(pages)), chance.randrange(len(pages))
            if chance.random() < 0.7:
                pages[one], pages[other] = pages[other], pages[one]
            else:
                pages[one] = pages[other]
        content[:] = b"".join(pages)

    _rewrite(folder / "code.sqlite", shuffle)


def torn(folder: Path, chance: random.Random) -> None:
    """Sectors of the journal came to the disk, or did not, as at a power loss without order."""

    def tear(content: bytearray) -> None:
        for start in range(0, len(content), 512):
            if chance.random() < 0.2:
                content[start : start + 512] = bytes(len(content[start : start + 512]))

    _rewrite(folder / "code.sqlite-journal", tear)


def power_loss(folder: Path, chance: random.Random) -> None:
    """Pages are those of before some changes, or those of after them: none was waited for."""
    path = folder / "code.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = path.read_bytes()
        connection.execute("CREATE TEMP TABLE moved AS SELECT * FROM object")
        connection.execute(f"DELETE FROM object WHERE length(content) % {chance.randint(2, 5)} = 0")
        if chance.random() < 0.5:
            connection.execute("VACUUM")
        connection.execute("INSERT OR REPLACE INTO object SELECT * FROM moved ORDER BY content")
    after = path.read_bytes()
    share = chance.choice((0.1, 0.5, 0.9))
    pages = [
        (before if chance.random() < share else after)[at : at + PAGE].ljust(PAGE, b"\0")
        for at in range(0, max(len(before), len(after)), PAGE)
    ]
    path.write_bytes(b"".join(pages))


ROWS = (
    "UPDATE object SET content = x'00' WHERE {one}",
    "UPDATE object SET content = 7 WHERE {one}",
    "UPDATE object SET digest = 1.5 WHERE {one}",
    "UPDATE object SET digest = (SELECT digest FROM object WHERE {other}) WHERE {one}",
    "UPDATE object SET (content, digest) = (SELECT content, digest FROM object WHERE {other})",
    "UPDATE object SET part = part || ' 10' WHERE {one}",
    "UPDATE object SET part = replace(part, '4', '6') WHERE {one}",
    "UPDATE object SET part = CAST(x'ff00fe' AS TEXT) WHERE {one}",
    "UPDATE object SET part = x'313233' WHERE {one}",
    "UPDATE object SET part = '' WHERE {one}",
    "UPDATE object SET key = (SELECT key || 'x' FROM object WHERE {other}) WHERE {one}",
    "UPDATE object SET key = CAST(x'6bff' AS TEXT) WHERE {one}",
    "UPDATE object SET key = x'6b00' WHERE {one}",
    "UPDATE object SET key = '' WHERE {one}",
    "UPDATE object SET used = 'never' WHERE {one}",
    "UPDATE object SET used = -1e300 WHERE {one}",
    "UPDATE object SET used = 9223372036854775807 WHERE {one}",
    "UPDATE object SET key = part, part = key WHERE {one}",
    "DELETE FROM object WHERE {one}",
    "DELETE FROM object",
)
"""What SQLite itself finds nothing wrong with."""


def rows(folder: Path, chance: random.Random) -> None:
    """Columns hold what belongs into others, or into other rows, or nowhere."""
    with closing(sqlite3.connect(folder / "code.sqlite", isolation_level=None)) as connection:
        for _ in range(chance.choice((1, 1, 3))):
            places = connection.execute("SELECT hex(key), hex(part) FROM object").fetchall()
            if not places:
                break
            one, other = (
                "hex(key) = '{}' AND hex(part) = '{}'".format(*chance.choice(places))
                for _ in range(2)
            )
            with suppress(sqlite3.IntegrityError):
                connection.execute(chance.choice(ROWS).format(one=one, other=other))


SCHEMAS = (
    "DROP TABLE object",
    "ALTER TABLE object RENAME TO subject",
    "ALTER TABLE object RENAME COLUMN digest TO disgust",
    "ALTER TABLE object ADD COLUMN more",
    "CREATE TRIGGER t AFTER INSERT ON object BEGIN DELETE FROM object; END",
    "CREATE INDEX i ON object (used)",
    "CREATE TABLE other (x)",
    "CREATE VIEW v AS SELECT * FROM object",
    "PRAGMA user_version = 12345",
    "PRAGMA journal_mode = WAL",
    "PRAGMA journal_mode = PERSIST",
    "VACUUM",
)


def schema(folder: Path, chance: random.Random) -> None:
    """Other tables than ours."""
    with closing(sqlite3.connect(folder / "code.sqlite", isolation_level=None)) as connection:
        connection.execute(chance.choice(SCHEMAS))


def companions(folder: Path, chance: random.Random) -> None:
    """The files beside the data base are gone, another's, or no files."""
    path = folder / f"code.sqlite{chance.choice(('-wal', '-shm', '-journal'))}"
    _replace(path, chance)


def place(folder: Path, chance: random.Random) -> None:
    """Something else stands where the data base was."""
    _replace(folder / "code.sqlite", chance)


def _replace(path: Path, chance: random.Random) -> None:
    content = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    match chance.randrange(7):
        case 0:
            return
        case 1:
            path.mkdir()
            (path / "file").touch()
        case 2:
            path.symlink_to(path.with_name("elsewhere"))
            path.with_name("elsewhere").write_bytes(content)
        case 3:
            path.symlink_to("nowhere")
        case 4:
            os.mkfifo(path)
        case 5:
            path.write_bytes(chance.randbytes(chance.choice((1, 100, 10_000))))
        case _:
            path.write_bytes(b"")


DAMAGES: tuple[Damage, ...] = (
    bits, header_bits, zeros, garbage, truncation, shuffled, torn, power_loss, rows, schema,
    companions, place,
)  # fmt: skip
