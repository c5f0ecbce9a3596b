"""The end of a machine when Ctrl-C comes meanwhile."""

import threading

import pytest

from bimetal.accel.script import ScriptCpu
from bimetal.machine import closing
from bimetal.machine.expect import TimedOut
from bimetal.seam import Exit, Halt
from tests.interrupting import interrupted
from tests.machine.conftest import Script


class Held:
    """A CPU that the host holds until it is let go."""

    def __init__(self) -> None:
        self.arrived, self.let_go = threading.Event(), threading.Event()

    def __call__(self, cpu: ScriptCpu) -> Exit:
        self.arrived.set()
        self.let_go.wait()
        return Halt()


def test_a_cpu_still_runs_when_the_wait_for_it_was_interrupted(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    board = script([held])
    board.machine.start()
    held.arrived.wait()
    with interrupted():
        board.machine.stop()
    with monkeypatch.context() as changed:
        changed.setattr(closing, "END_SECONDS", 0.1)
        with pytest.raises(TimedOut):
            board.machine.stop()
    held.let_go.set()
    board.machine.stop()


def test_a_close_that_was_interrupted_can_be_called_again(script: Script) -> None:
    held = Held()
    board = script([held])
    board.machine.start()
    held.arrived.wait()
    with interrupted():
        board.machine.close()
    assert not board.accelerator.closed
    held.let_go.set()
    board.machine.close()
    assert board.accelerator.closed
