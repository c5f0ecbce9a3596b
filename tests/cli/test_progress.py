"""Progress of downloads, in a log and on a terminal."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from bimetal.cli.bars import Bars, SteadyConsole
from bimetal.cli.progress import ShownProgress


def test_a_log_gets_a_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    with ShownProgress() as progress:
        progress.fraction(0.1)  # before any step: nothing to show
        progress.step("reading lists")
        progress.fraction(0.5)
        progress.step("unpacking")
    assert capsys.readouterr().err == "bimetal: reading lists\nbimetal: unpacking\n"


def test_a_terminal_gets_bars_that_go_away() -> None:
    shown = io.StringIO()
    bars = Bars(SteadyConsole(file=shown, force_terminal=True, width=60))
    bars.step("reading lists")
    bars.fraction(0.5)
    bars.step("unpacking")
    bars.close()
    assert "unpacking" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[2K")  # the last thing is to erase a line
    assert "\x1b[?25l" not in shown.getvalue()  # no cursor is hidden that a kill would leave so


def test_without_a_step_nothing_is_loaded() -> None:
    code = (
        "import sys; from bimetal.cli.progress import ShownProgress\n"
        "with ShownProgress(): pass\n"
        "sys.exit('rich' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
