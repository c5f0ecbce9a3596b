"""Programs of other people: their table, what is run in the guest, and the report of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.laps import Lap
from bench.measure import Run
from bench.public import root
from bench.public.guest import inputs
from bench.public.outcome import FAILED, Round, compare, header, report, times
from bench.public.rounds import Rounds, Settings, busy
from bench.public.table import FOLDER, Program, choose, kinds, load, packaged, script
from bench.report import Pair
from bench.run import main
from bench.targets import RISCV64, TARGETS

PROGRAMS = {
    "gzip": Program("compressors", ("gzip",), "gzip <text", "text 4"),
    "lua": Program("interpreters", ("lua5.4",), "lua5.4 work.lua $N", long=0),
    "tcc": Program("compilers", ("tcc", "gzip"), "tcc 1.c", without=("riscv64",)),
    "javac": Program("compilers", ("jdk",), "javac Work.java", short=0),
}


def lap(seconds: float, result: str = "c0de") -> Lap:
    return Lap(result, seconds)


@pytest.mark.parametrize("arch", TARGETS)
@pytest.mark.parametrize("long", [False, True])
def test_there_are_many_programs_of_every_kind_in_each_form(arch: str, long: bool) -> None:
    programs = choose(arch, long=long)
    assert len(programs) >= 60
    assert {program.kind for program in programs.values()} == {*kinds()}


@pytest.mark.parametrize("long", [False, True])
def test_the_script_is_a_shell_s_and_times_each_program_once(long: bool, tmp_path: Path) -> None:
    programs = choose("arm64", long=long)
    order = [*programs]
    text = script(programs, order, long=long)
    (tmp_path / "script.sh").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "script.sh"], check=True)
    lines = [line for line in text.splitlines() if line]
    assert lines[-len(order) :] == [
        f"N={program.scale(long=long)} bench {name}" for name, program in programs.items()
    ]


def test_programs_use_only_inputs_that_there_are() -> None:
    used = "".join(f"{each.prepare} {each.run}" for each in load().values())
    names = {path.name for path in inputs()}
    assert {name for name in names if f"/tmp/public/{name}" not in used} == set()
    assert used.count("/tmp/public/") >= len(names)
    assert {path.name for path in FOLDER.iterdir()} - names == {"programs.toml"}


def test_programs_are_chosen_by_name_kind_architecture_and_form() -> None:
    assert [*choose("riscv64", ["xz", "text"])][:2] == ["xz", "grep"]
    assert "tcc" in choose("arm64")
    assert "tcc" not in choose("riscv64")
    assert "javac" not in choose("arm64")
    assert choose("arm64", ["javac"], long=True)["javac"].kind == "compilers"
    assert "javac" in packaged("riscv64")
    with pytest.raises(ValueError, match="no program or kind 'zip'; there are gzip, bzip2"):
        choose("arm64", ["zip", "xz"])


def test_a_kind_is_no_name_of_a_program() -> None:
    assert {*kinds()} & {*load()} == set()


def test_each_package_is_installed_once() -> None:
    packages = root.packages_of(PROGRAMS.values())
    assert {"gzip", "jdk", "lua5.4", "tcc", "bash"} < {*packages}
    assert len(packages) == len({*packages})


def test_an_image_has_what_packages_scripts_would_make(tmp_path: Path) -> None:
    for path, content in {
        "etc/hosts": b"",
        "usr/lib/riscv64-linux-gnu/blas/libblas.so.3": b"",
        "usr/share/go-1.24/src/b/b.go": b"package b\n",
        "usr/share/go-1.24/src/a.go": b"package a\n",
        "usr/share/go-1.24/src/a.txt": b"no source",
        "usr/share/perl/5.40/C.pm": b"package C;\n",
        "usr/share/sounds/alsa/Front_Left.wav": bytes(44) + b"left",
        "usr/share/sounds/alsa/Noise.wav": bytes(44) + b"noise",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    root.complete(tmp_path)
    assert (tmp_path / "corpus/text").read_bytes() == b"package a\npackage b\npackage C;\n"
    assert (tmp_path / "corpus/sound").read_bytes() == b"left"
    library = tmp_path / "usr/lib/riscv64-linux-gnu/libblas.so.3"
    assert library.resolve() == library.parent / "blas" / library.name
    assert "bench:x:1000" in (tmp_path / "etc/passwd").read_text()


def test_times_are_read_from_what_a_guest_prints() -> None:
    text = (
        "PREPARE xz\r\nBENCH xz lap=0 result=c0de ticks=15000000\r\n"
        "PREPARE lua\r\nBENCH lua lap=0 result=failed ticks=20\r\n"
    )
    assert times(Run(None, 1.0, text, 0)) == {"xz": lap(1.5), "lua": Lap(FAILED, 2e-6)}
    assert times(Run(None, 1.0, "Kernel panic", 1)) == {}


def test_only_programs_with_the_same_result_are_compared() -> None:
    theirs = {"xz": lap(2), "lua": lap(3), "perl": lap(1), "gp": lap(1, FAILED), "bc": lap(1)}
    cold = {"xz": lap(4), "lua": lap(1, "bad"), "gp": lap(1, FAILED), "bc": lap(1, FAILED)}
    warm = {"xz": lap(1), "lua": lap(1), "perl": lap(1), "gp": lap(1), "bc": lap(1)}
    outcome = compare([Round(theirs, {"cold": cold, "warm": warm})] * 2, [*theirs])
    assert outcome.pairs["cold"] == {"xz": [Pair(4, 2)] * 2}
    assert [*outcome.pairs["warm"]] == ["xz", "lua", "perl", "bc"]
    assert outcome.faults == [
        "lua: bad here (cold), c0de under QEMU",
        "perl does not come to its end (here, cold)",
        "gp fails (here, cold)",
        "gp fails (under QEMU)",
        "bc fails (here, cold)",
    ]


def test_the_report_has_means_by_kind_and_names_what_is_below_1() -> None:
    theirs = {"gzip": lap(2), "lua": lap(3), "tcc": lap(1)}
    first = {"gzip": lap(1), "lua": lap(4), "tcc": lap(1)}
    second = {"gzip": lap(0.5), "lua": lap(6), "tcc": lap(1)}
    outcome = compare(
        [Round(theirs, {"warm": each}) for each in (first, second, second)], [*theirs]
    )
    lines = [*report(outcome, PROGRAMS, ["warm"])]
    assert [line.split() for line in lines[:3]] == [
        ["gzip", "2.00", "0.50", "4.00", "2.00", "-", "4.00"],
        ["lua", "3.00", "6.00", "0.50", "0.50", "-", "0.75"],
        ["tcc", "1.00", "1.00", "1.00", "1.00", "-", "1.00"],
    ]
    assert [line.split()[-1] for line in lines[3:7]] == ["4.00", "0.50", "1.00", "1.26"]
    assert lines[7:] == ["below 1, warm (1 of 3): lua 0.50"]
    assert header(["cold", "warm"]).split()[2:] == [
        *("qemu", "cold", "ratio", "spread", "warm", "ratio", "spread")
    ]


def test_faults_are_in_the_report() -> None:
    outcome = compare([Round({}, {"cold": {"gzip": lap(1)}})], ["gzip"])
    assert [*report(outcome, PROGRAMS, ["cold"])] == [
        "WRONG: gzip does not come to its end (under QEMU)"
    ]


class Recorded(Rounds, frozen=True):
    """Rounds whose runs are only noted."""

    noted: list[tuple[str, ...]] = []

    def run(self, order: object, title: str, *, ours: bool) -> dict[str, Lap]:
        names = tuple(map(str, order))  # type: ignore[call-overload]
        self.noted.append((title, *names))
        return {name: lap(1) for name in names}


class Resets:
    """A cache of which only the number of resets is of interest."""

    def __init__(self) -> None:
        self.count = 0

    def reset(self) -> None:
        self.count += 1


def recorded(settings: Settings) -> tuple[Recorded, Resets]:
    cache = Resets()
    two = {name: PROGRAMS[name] for name in ("gzip", "lua")}
    nowhere = Path("/nonexistent")
    every = Recorded(RISCV64, two, settings, [], nowhere, nowhere, cache, [])  # type: ignore[arg-type]
    return every, cache


def test_a_round_boots_once_for_all_and_begins_elsewhere_each_time() -> None:
    every, cache = recorded(Settings())
    found = every.round(1)
    assert every.noted == [
        ("round 2, QEMU", "lua", "gzip"),
        ("round 2, cold", "lua", "gzip"),
        ("round 2, warm", "lua", "gzip"),
    ]
    assert cache.count == 1
    assert {*found.ours} == {"cold", "warm"}
    assert {*found.theirs} == {"gzip", "lua"}


def test_alone_each_program_is_booted_for_with_a_store_as_installed() -> None:
    every, cache = recorded(Settings(alone=True))
    found = every.round(0)
    assert [names for _, *names in every.noted] == [["gzip"]] * 3 + [["lua"]] * 3
    assert cache.count == 2
    assert {*found.ours["warm"]} == {"gzip", "lua"}


def test_a_warm_store_alone_is_filled_by_a_run_that_does_not_count() -> None:
    every, cache = recorded(Settings(stores=["warm"]))
    every.round(0)
    every.round(1)
    assert [title for title, *_ in every.noted] == [
        *("round 1, not counted", "round 1, QEMU", "round 1, warm"),
        *("round 2, QEMU", "round 2, warm"),
    ]
    assert cache.count == 0


def interrupted() -> None:
    """Have two busy loops when someone asks for an end."""
    with busy(2):
        raise KeyboardInterrupt


def test_busy_loops_end_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def noted(_: object) -> subprocess.Popen[bytes]:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [loop.returncode for loop in started] == [-signal.SIGKILL] * 2


def test_a_name_that_is_no_program_is_refused() -> None:
    done = CliRunner().invoke(main, ["public", "--only", "zip"])
    assert done.exit_code == 2
    assert "no program or kind 'zip'" in done.output
