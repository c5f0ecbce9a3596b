"""The bench: its programs compile and run, its report says what was measured."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.boot import Regions, regions
from bench.laps import laps
from bench.measure import Run
from bench.programs import SOURCES, build, common_names, kind, names
from bench.report import Pair, geometric_mean, row
from bench.run import KNOWN, main
from bench.targets import ARM64, NATIVE, RISCV64, TARGETS, Compiler
from bimetal import Machine
from tests.host import need, programs

COMPILERS = [*(target.compiler for target in TARGETS.values()), NATIVE]


def test_the_readme_describes_every_program_and_part() -> None:
    text = (SOURCES.parent / "README.md").read_text()
    wanted = {*KNOWN, *(name for compiler in COMPILERS for name in names(compiler))}
    assert [name for name in sorted(wanted) if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda compiler: compiler.folder)
def test_every_program_compiles_without_a_warning(compiler: Compiler, tmp_path: Path) -> None:
    need(compiler.command)
    for name in names(compiler):
        program = build(name, compiler, tmp_path)
        assert program.read_bytes().startswith(b"\x7fELF")
        assert build(name, compiler, tmp_path) == program  # not built again


def test_programs_of_one_instruction_set_are_not_common() -> None:
    assert "aesctr" in names(ARM64.compiler)
    assert "aesctr" not in names(RISCV64.compiler)
    assert "traps" not in common_names()
    assert [kind(name) for name in ("aesctr", "nbody", "sort")] == [
        *("SIMD", "floating point", "integer")
    ]


@pytest.mark.parametrize("script", sorted(SOURCES.glob("*.sh")), ids=lambda path: path.name)
def test_every_script_is_a_shell_s(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


@programs(RISCV64.compiler.command)
def test_a_program_prints_each_lap_s_result_and_time(tmp_path: Path) -> None:
    with Machine(
        bios="none", kernel=str(build("stream", RISCV64.compiler, tmp_path)), memory="64M"
    ) as vm:
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
