"""The bench: its programs compile and run, its report says what was measured."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from bench.measure import Run, laps, run
from bench.programs import COMPILER, SOURCES, build, names
from bench.run import Pair, geometric_mean, row
from bimetal import Machine

needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed"
)


def test_the_readme_describes_every_program() -> None:
    text = (SOURCES.parent / "README.md").read_text()
    assert [name for name in names() if f"| `{name}` |" not in text] == []


@needs_compiler
@pytest.mark.parametrize("name", names())
def test_every_program_compiles_without_a_warning(name: str, tmp_path: Path) -> None:
    program = build(name, tmp_path)
    assert program.read_bytes().startswith(b"\x7fELF")
    assert build(name, tmp_path) == program  # not built again


@needs_compiler
def test_a_program_prints_each_lap_s_result_and_time(tmp_path: Path) -> None:
    with Machine(bios="none", kernel=str(build("stream", tmp_path)), memory="64M") as vm:
        vm.start()
        assert vm.wait(120).code == 0
        seen = laps(Run(None, 0, vm.console.read(), 0))
    assert [result for result, _ in seen] == ["fde16181d2938ab", "fde16181d2938ab"]
    assert all(seconds > 0 for _, seconds in seen)


def test_output_without_a_result_is_an_error() -> None:
    with pytest.raises(ValueError, match="no result in the output"):
        laps(Run(None, 1.0, "TRAP cause=2 pc=80000000\n", 1))


def test_a_run_ends_at_its_marker() -> None:
    code = "import time; print('up', flush=True); time.sleep(1000)"
    seen = run([sys.executable, "-c", code], "up")
    assert seen.marker is not None
    assert seen.marker <= seen.total
    assert seen.output.rstrip() == "up"


def test_a_run_without_its_marker_says_so() -> None:
    seen = run([sys.executable, "-c", "print('down'); raise SystemExit(3)"], "up")
    assert (seen.marker, seen.output, seen.code) == (None, "down\n", 3)


def test_the_report_shows_medians_and_the_spread_of_ratios() -> None:
    pairs = [Pair(ours=1.0, theirs=2.0), Pair(ours=2.0, theirs=2.0), Pair(ours=1.0, theirs=3.0)]
    assert row("sort", pairs).split() == ["sort", "1.00", "2.00", "2.00", "1.00", "-", "3.00"]
    assert geometric_mean([[Pair(1.0, 4.0)], [Pair(4.0, 1.0)]]) == pytest.approx(1.0)
