"""``bimetal guests`` and ``bimetal fetch``."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import GUESTS, BimetalError, ExitCode, Guest, Payload
from bimetal.cli import fetch
from tests.cli.conftest import Cli


def test_all_guests_are_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = cli("guests").out
    for guest in GUESTS.values():
        assert guest.name in shown
        assert guest.board in shown
        assert f"fetch {guest.download}" in shown


def test_a_program_reads_a_line_a_guest(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = cli("guests").out.splitlines()
    assert lines[0].split() == ["guest", "what", "it", "is", "board", "here"]
    assert [line.split()[0] for line in lines[1:]] == list(GUESTS)
    assert all(line == line.rstrip() for line in lines)


def payload(guest: Guest) -> Payload:
    return Payload(guest, Path("/cache/kernel"), Path("/cache/initrd"), None, {"linux": "6.12"})


def test_fetch_says_what_came_and_where_it_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(name: str, progress: object, *, update: bool) -> Payload:
        asked.append((name, update))
        return payload(GUESTS[name])

    monkeypatch.setattr(fetch, "fetch_guest", fake)
    shown = cli("fetch", "--update", "debian-riscv64", "debian-sid-riscv64")
    assert asked == [("debian-riscv64", True), ("debian-sid-riscv64", True)]
    assert shown.out.splitlines()[:3] == [
        "debian-riscv64: linux 6.12",
        "  kernel /cache/kernel",
        "  initrd /cache/initrd",
    ]


def test_a_failure_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(*_: object, **__: object) -> Payload:
        raise BimetalError("no network", "plug it in", ExitCode.UNAVAILABLE)

    monkeypatch.setattr(fetch, "fetch_guest", fake)
    told = cli("fetch", "debian-riscv64")
    assert told.code == ExitCode.UNAVAILABLE
    assert told.err.endswith("bimetal: no network\n         plug it in\n")
