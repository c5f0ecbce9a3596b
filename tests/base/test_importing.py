"""Copies of this process while another thread imports something."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from bimetal.base.importing import no_import_under_way

LIMIT = 60
SLOW = """
import threading
begun, goes_on = threading.Event(), threading.Event()
begun.set()
goes_on.wait()
DONE = 7
"""
FORKS = """
from bimetal.base.importing import no_import_under_way
with no_import_under_way(60):
    DONE = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("slowly", "forking_module"):
        sys.modules.pop(name, None)


def begun(folder: Path) -> threading.Thread:
    """A thread that imports a module until somebody lets it go on."""
    (folder / "slowly.py").write_text(SLOW)
    thread = threading.Thread(target=import_module, args=("slowly",))
    thread.start()
    while "slowly" not in sys.modules or not hasattr(sys.modules["slowly"], "begun"):
        thread.join(0.001)
    assert sys.modules["slowly"].begun.wait(LIMIT)
    return thread


def copied() -> int:
    """What a copy of this process finds in the module, as the code with which it ends."""
    pid = os.fork()
    if not pid:
        signal.alarm(LIMIT)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            os._exit(import_module("slowly").DONE)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_copy_has_modules_whole(folder: Path) -> None:
    thread = begun(folder)
    letting = threading.Timer(0.05, sys.modules["slowly"].goes_on.set)
    letting.start()
    with no_import_under_way(LIMIT):
        assert hasattr(sys.modules["slowly"], "DONE")
        assert copied() == 7
    thread.join()
    letting.join()
    assert copied() == 7, "imports go on"


def test_an_import_that_does_not_end_is_not_waited_for(folder: Path) -> None:
    thread = begun(folder)
    with no_import_under_way(0.01):
        assert not hasattr(sys.modules["slowly"], "DONE")
    sys.modules["slowly"].goes_on.set()
    thread.join()


def test_an_import_of_this_thread_is_not_waited_for(folder: Path) -> None:
    (folder / "forking_module.py").write_text(FORKS)
    assert import_module("forking_module").DONE == 7
