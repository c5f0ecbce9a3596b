"""``bimetal cache``: how much of the store is left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bimetal.cli import cache
from tests.cli.conftest import Cli

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
