"""Damaged stores: nothing wrong comes out of them, nothing is raised, and a second run is well."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.codegen.cover import Cover
from bimetal.codegen.layout import PAGE
from bimetal.codegen.store import CodeStore
from bimetal.codegen.stored_region import StoredRegion, bits_of
from tests.codegen.damage import DAMAGES, Damage

Objects = dict[tuple[str, str], bytes]


def objects() -> Objects:
    """An interpreter, and regions of some pages."""
    chance = random.Random(1)
    made = {("interpreter riscv64 0123", ""): chance.randbytes(60_000)}
    for _ in range(25):
        key = chance.randbytes(20).hex()
        for entry in range(4, 4 * chance.randrange(2, 6), 4):
            steps = tuple(range(entry, entry + 4 * chance.randrange(1, 60), 4))
            symbol = f"region_{chance.randbytes(16).hex()}"
            cover = Cover.of(chance.randbytes(PAGE), ((entry, steps[-1] + 4),))
            part = StoredRegion(1, symbol, (entry,), bits_of(steps), cover)
            made[key, part.name] = chance.randbytes(chance.randrange(700, 6000))
    return made


OBJECTS = objects()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a process leaves it that is killed: half of a change is in the file."""
    folder, copy = (tmp_path_factory.mktemp(name) for name in ("store", "copy"))
    store = CodeStore(folder)
    for (key, part), content in OBJECTS.items():
        store.put(key, content, part)
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as killed:
        killed.execute("PRAGMA cache_size = 5")
        killed.execute("BEGIN")
        killed.execute("UPDATE object SET used = 1, digest = content")
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        killed.execute("ROLLBACK")
    assert (copy / "code.sqlite-journal").stat().st_size > 100_000
    return copy


def everything(folder: Path) -> Objects:
    """What a run gets of a store, after which it leaves something of its own."""
    store = CodeStore(folder)
    asked = store.keys() | {key for key, _ in OBJECTS}
    found = {(key, part): content for key in asked for part, content in store.parts(key)}
    store.touch(key for key, _ in OBJECTS)
    store.put("new", b"fresh", "part")
    store.close()
    return found


def check(folder: Path) -> None:
    """Whatever was done to a store, a run is not harmed, and the second one is well."""
    known = OBJECTS | {("new", "part"): b"fresh"}
    first = everything(folder)
    assert first.items() <= known.items()
    second = everything(folder)
    assert second.items() <= known.items()
    with CodeStoreLog() as log:
        third = everything(folder)
    assert third == second | {("new", "part"): b"fresh"}
    assert not log.lines


class CodeStoreLog(logging.Handler):
    """What the store complains of."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> CodeStoreLog:
        logging.getLogger("bimetal.store").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("bimetal.store").removeHandler(self)


def damaged(whole: Path, folder: Path, damage: Damage, seed: int) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    folder.chmod(0o700)
    damage(folder, random.Random(f"{damage.__name__} {seed}"))
    return folder


def test_a_store_that_is_whole_gives_everything(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "code")
    with CodeStoreLog() as log:
        assert everything(tmp_path / "code") == OBJECTS
    assert not log.lines


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_a_miss_and_is_mended(whole: Path, tmp_path: Path, damage: Damage) -> None:
    for seed in range(20):
        check(damaged(whole, tmp_path / "code", damage, seed))


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_thousand_damages_of_each_kind(whole: Path, tmp_path: Path, damage: Damage) -> None:
    for seed in range(1000, 2000):
        check(damaged(whole, tmp_path / "code", damage, seed))


RUN = """
from msgspec.structs import replace
from bimetal.codegen.policy import USUAL
from tests.codegen.hart import jit
from tests.codegen.programs import random_program
eager = replace(USUAL, hot=1, warm=1, share=0.0, slice=31, patience=1, wait=True)
with jit(eager) as (hart, cpu):
    for seed in range(8):
        hart.begin(random_program(seed))
        hart.finish()
        print(hart.outcome())
"""


def run(cache: Path) -> str:
    """What programs come to in a process of their own, with the store in ``cache``."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_harts_compute_the_same_with_damaged_stores(tmp_path: Path, damage: Damage) -> None:
    expected = run(tmp_path / "first")
    kept = tmp_path / "first" / "bimetal" / "code"
    store = CodeStore(kept)
    assert len(store.keys()) > 8
    store.close()
    (kept / "code.sqlite-journal").write_bytes(random.Random(1).randbytes(5000))
    (tmp_path / "cache" / "bimetal").mkdir(0o700, parents=True)
    for seed in range(5):
        damaged(kept, tmp_path / "cache" / "bimetal" / "code", damage, seed)
        assert run(tmp_path / "cache") == expected
        assert run(tmp_path / "cache") == expected
