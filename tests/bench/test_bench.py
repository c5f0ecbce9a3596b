"""The bench: its programs compile and run, its report says what was measured."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.boot import Regions, regions
from bench.laps import laps
from bench.measure import Run
from bench.programs import COMPILER, SOURCES, build, names
from bench.report import Pair, geometric_mean, row
from bench.run import PARTS, main
from bimetal import Machine
from tests.host import programs

needs_compiler = programs(COMPILER)


def test_the_readme_describes_every_program_and_part() -> None:
    text = (SOURCES.parent / "README.md").read_text()
    wanted = [*names(), "programs", *PARTS, "memory"]
    assert [name for name in wanted if f"| `{name}` |" not in text] == []


@needs_compiler
@pytest.mark.parametrize("name", names())
def test_every_program_compiles_without_a_warning(name: str, tmp_path: Path) -> None:
    program = build(name, tmp_path)
    assert program.read_bytes().startswith(b"\x7fELF")
    assert build(name, tmp_path) == program  # not built again


@pytest.mark.parametrize("script", sorted(SOURCES.glob("*.sh")), ids=lambda path: path.name)
def test_every_script_is_a_shell_s(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


@needs_compiler
def test_a_program_prints_each_lap_s_result_and_time(tmp_path: Path) -> None:
    with Machine(bios="none", kernel=str(build("stream", tmp_path)), memory="64M") as vm:
        vm.start()
        assert vm.wait(120).code == 0
        seen = laps(Run(None, 0, vm.console.read(), 0))["stream"]
        counted = regions(Run(None, 0, str(vm.stats()), 0))
    assert [lap.result for lap in seen] == ["fde16181d2938ab", "fde16181d2938ab"]
    assert all(lap.seconds > 0 for lap in seen)
    assert (counted is not None) == (vm.accel == "jit")


def test_regions_are_read_from_the_statistics() -> None:
    text = "jit: 1,003 regions compiled, 3,009 regions from the store, 12 instructions compiled"
    counted = regions(Run(None, 0, text, 0))
    assert counted == Regions(compiled=1003, stored=3009)
    assert counted.share == 0.75
    assert regions(Run(None, 0, "cpu0 exits: none", 0)) is None


def test_the_report_shows_medians_and_the_spread_of_ratios() -> None:
    pairs = [Pair(ours=1.0, theirs=2.0), Pair(ours=2.0, theirs=2.0), Pair(ours=1.0, theirs=3.0)]
    assert row("sort", pairs).split() == ["sort", "1.00", "2.00", "2.00", "1.00", "-", "3.00"]
    assert geometric_mean([[Pair(1.0, 4.0)], [Pair(4.0, 1.0)]]) == pytest.approx(1.0)


def test_a_part_that_is_not_there_is_refused() -> None:
    done = CliRunner().invoke(main, ["sort", "sleep"])
    assert done.exit_code == 2
    assert "no part 'sleep'; there are programs, boot" in done.output
