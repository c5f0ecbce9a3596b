"""What the package logs reaches standard error, whatever that is by then."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from bimetal.cli.logs import show_logs

LOG = logging.getLogger("bimetal.store")


def test_a_line_says_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs()
    LOG.warning("the store was damaged")
    assert capsys.readouterr().err == "bimetal.store: the store was damaged\n"


def test_the_log_follows_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    show_logs()
    LOG.warning("one")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    LOG.warning("two")
    assert second.getvalue() == "bimetal.store: two\n"


def test_a_log_that_nobody_can_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    show_logs()
    monkeypatch.setattr(sys, "stderr", closed)
    LOG.warning("lost")
