"""``bimetal cache``: how much of the store is left."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from bimetal import CodeStore
from bimetal.cli import cache
from tests.cli.conftest import Cli
from tests.codegen.damage import DAMAGES, Damage

MIB = 1 << 20


@pytest.mark.parametrize(
    ("words", "size"),
    [([], 0), (["--to", "0"], 0), (["--to", "500"], 500 * MIB), (["--to", "1.5G"], 1536 * MIB)],
)
def test_a_number_alone_counts_mib(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], size: int
) -> None:
    asked: list[int] = []

    class NotedStore:
        path = "store"

        def prune(self, limit: int) -> int:
            asked.append(limit)
            return 3

        def usage(self) -> SimpleNamespace:
            return SimpleNamespace(path=self.path, objects=0, size=0)

        def is_claimed(self) -> bool:
            return False

        def close(self) -> None:
            pass

    monkeypatch.setattr(cache, "CodeStore", NotedStore)
    told = cli("cache", "--prune", *words)
    assert told.code == 0
    assert asked == [size]
    assert "removed 3 objects" in told.out


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_store_is_shown_and_pruned_as_any_other(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for seed in range(3):
        store = CodeStore()
        for number in range(40):
            store.put(f"key {number}", bytes(range(256)) * number, "part")
        store.close()
        folder = tmp_path / "bimetal" / "code"
        (folder / "code.sqlite-journal").write_bytes(random.Random(seed).randbytes(5000))
        damage(folder, random.Random(f"{damage.__name__} {seed}"))
        for words in ([], ["--prune", "--to", "10K"], [], ["--prune"]):
            told = cli("cache", *words)
            assert told.code == 0, told.err
            assert "Traceback" not in told.err
        assert told.out.endswith(": 0 objects, 0 bytes\n")
