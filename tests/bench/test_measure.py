"""One run of a process: where it ends, and what is known of it then."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.measure import Running, alternate, run


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_run_ends_at_its_marker() -> None:
    seen = run(python("import time; print('up', flush=True); time.sleep(1000)"), "up")
    assert seen.marker is not None
    assert seen.marker <= seen.total
    assert seen.output.rstrip() == "up"


def test_a_run_goes_on_to_its_end_if_asked_to() -> None:
    seen = run(python("print('up', flush=True); input()"), "up", to_end=True)
    assert seen.marker is not None
    assert "EOFError" in seen.output  # there is no input
    assert seen.code == 1


def test_a_run_without_its_marker_says_so() -> None:
    seen = run(python("print('down'); raise SystemExit(3)"), "up")
    assert (seen.marker, seen.output, seen.code) == (None, "down\n", 3)


def test_a_run_that_does_not_end_is_an_error() -> None:
    with pytest.raises(TimeoutError, match="took longer than 0 s"):
        run(python("import time; time.sleep(1000)"), limit=0.2)


def test_a_process_is_listened_to_in_turns_and_ends_with_its_block() -> None:
    with Running(python("print(1, flush=True); import time; time.sleep(1000)")) as running:
        assert running.listen(60, "1") is not None
        assert running.listen(0.01) is None
        assert not running.ended
    assert running.process.returncode == -9


def test_ours_and_theirs_take_turns_and_the_first_of_each_is_not_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    note = f"open({str(log)!r}, 'a').write('{{}}')"
    ours = python(note.format("o") + "; import os; print(os.environ['XDG_CACHE_HOME'])")
    theirs = python(note.format("t"))
    pairs = alternate(ours, theirs, 2, cache=tmp_path)
    assert log.read_text() == "ototot"
    assert [our.output for our, _ in pairs] == [f"{tmp_path}\n"] * 2
