"""Help, versions, and how errors reach the person who typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bimetal import BimetalError, ExitCode, __version__
from bimetal.cli import program
from bimetal.cli.commands import SUMMARIES
from tests.cli.conftest import Cli


def test_help_names_every_command(cli: Cli) -> None:
    shown = cli("--help")
    assert shown.code == 0
    for name in SUMMARIES:
        assert f"\n  {name} " in shown.out


def test_every_command_explains_itself(cli: Cli) -> None:
    for name in SUMMARIES:
        shown = cli(name, "--help")
        assert shown.code == 0
        assert f"Usage: bimetal {name}" in shown.out


def test_help_loads_no_machine() -> None:
    code = "import bimetal.cli, sys; bimetal.cli.main(['--help'])"
    probe = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); " + code
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    modules = set(done.stderr.split())
    assert "bimetal.cli.commands" in modules
    assert not modules & {"llvmlite", "rich", "elftools", "bimetal.isa", "bimetal.catalogue"}


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out == f"bimetal {__version__}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "bimetal: No such command 'nonsense'\n         'bimetal --help' tells"),
        (["rnu"], "did you mean run?"),
        (["debian-riscv64"], "to boot that guest, 'bimetal run debian-riscv64'"),
        ([__file__], "to boot that file, 'bimetal run --kernel "),
        (["run", "--kernle", "k"], "--kernel"),
        (["run", "--kernle", "k"], "'bimetal run --help' tells what there is"),
        (["run", "debian-riscv64", "--disk"], "'bimetal run --help' tells what there is"),
        (["cache", "--to", "1G"], "add --prune"),
        (["dis", "--arch", "riscv64", "--arch", "riscv64", "13"], "--arch is given twice"),
        (["dis", "--arch", "riscv", "13"], "did you mean riscv64? choose from riscv64"),
        (["run", "--nonsense"], "--nonsense"),
        (["run", "--accel", "magic"], "magic"),
        (["run", "--cpus", "0"], "--cpus"),
        (["fetch"], "GUEST"),
    ],
)
def test_wrong_usage_is_told(cli: Cli, words: list[str], says: str) -> None:
    told = cli(*words)
    assert told.code == ExitCode.USAGE
    assert says in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BimetalError("no disk", "make one", 66), 66, "bimetal: no disk\n         make one\n"),
        (BimetalError("it broke"), 1, "bimetal: it broke\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_messages_and_exit_codes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(program.program, "main", fail)
    told = cli("guests")
    assert (told.code, told.err) == (code, says)


def test_a_reader_who_goes_away_is_no_traceback(tmp_path: Path) -> None:
    code = tmp_path / "code.bin"
    code.write_bytes(bytes.fromhex("13051500") * 20000)
    done = subprocess.run(
        f"{sys.executable} -m bimetal dis {code} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "           0:  00150513  addi a0, a0, 1\n"
    assert done.stderr == ""
