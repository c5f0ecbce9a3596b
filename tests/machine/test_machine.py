"""The life of a machine, as a program sees it."""

from __future__ import annotations

import threading

import pytest

from bimetal.accel.script import ScriptCpu
from bimetal.backends.chars.null import NoChars
from bimetal.base.errors import BimetalError
from bimetal.machine.counting import Stats
from bimetal.machine.expect import EndOfRun, TimedOut
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending, Result
from bimetal.seam import Exit, Mmio
from tests.machine.conftest import LIMIT, Script

UART, TEST = 0x1000_0000, 0x10_0000
POWER_OFF = Mmio(TEST, 4, write=True, value=0x5555)


def busy(cpu: ScriptCpu) -> Exit:
    """A guest that never stops to read the serial port."""
    cpu.repeat()
    return Mmio(UART + 7, 1)


def test_before_the_start_nothing_is_waited_for(script: Script) -> None:
    vm = script([POWER_OFF]).machine
    for call in (vm.wait, lambda: vm.wait(5), lambda: vm.console.expect("login:"), vm.reset):
        with pytest.raises(BimetalError, match=r"was not started.*call start\(\) first"):
            call()
    vm.start()
    assert vm.wait(LIMIT).ending is Ending.POWER_OFF


def test_a_machine_that_is_stopped_before_its_start_has_ended(script: Script) -> None:
    vm = script([POWER_OFF]).machine
    vm.stop()
    assert vm.wait() == Result(Ending.STOPPED)


def test_a_run_that_does_not_end_in_time(script: Script) -> None:
    vm = script([busy]).machine
    vm.start()
    with pytest.raises(TimedOut, match=r"the machine still runs after 0.01 s \(stop\(\) ends it\)"):
        vm.wait(0.01)
    with pytest.raises(TimeoutError):
        vm.wait(0)


def test_the_end_of_the_run_is_told_to_who_expects_something(script: Script) -> None:
    hello = [Mmio(UART, 1, write=True, value=byte) for byte in b"hello"]
    vm = script([*hello, POWER_OFF]).machine
    vm.start()
    with pytest.raises(EndOfRun, match="hello") as caught:
        vm.console.expect("login:", timeout=LIMIT)
    assert caught.value.result == Result(Ending.POWER_OFF)


def test_paused_before_its_start_it_begins_paused(script: Script) -> None:
    board = script([Mmio(UART + 5, 1), POWER_OFF])
    vm = board.machine
    vm.pause()
    vm.start()
    before = board.clock.now_ns()
    with pytest.raises(TimedOut):
        vm.wait(0.05)
    assert (board.cpus[0].answers, board.clock.now_ns()) == ([], before)
    vm.resume()
    assert vm.wait(LIMIT).code == 0


def test_resumed_before_its_start_its_time_does_not_pass(script: Script) -> None:
    board = script([POWER_OFF])
    board.machine.resume()
    assert board.machine.running is False
    assert "not started" in repr(board.machine)
    board.machine.start()
    board.machine.wait(LIMIT)


def test_a_machine_shows_what_it_is_and_how_it_is(script: Script, kernel: str) -> None:
    vm = script([busy], [busy]).machine
    what = "<Machine riscv-virt, 2 CPUs, 64 MiB, accelerator script: "
    assert repr(vm) == what + "not started>"
    vm.start()
    assert repr(vm) == what + "running>"
    vm.pause()
    assert repr(vm) == what + "paused>"
    vm.resume()
    vm.stop()
    assert repr(vm) == what + "ended, stopped from outside, code 0>"
    vm.close()
    assert repr(vm) == what + "closed>"
    with Machine(kernel=kernel, serial=NoChars()) as other:
        assert repr(other) == "<Machine riscv-virt, 1 CPU, 512 MiB, accelerator auto: not started>"
        assert repr(other.console) == "<console NoChars: 0 bytes of output>"


def test_whichever_thread_comes_first_puts_it_together(script: Script) -> None:
    board = script([POWER_OFF], [POWER_OFF])
    together = threading.Barrier(8)

    def look() -> None:
        together.wait()
        assert len(board.machine.cpus) == 2

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(board.cpus) == 2


def test_statistics_are_data_and_a_report(script: Script) -> None:
    vm = script([Mmio(0x2800_0000, 4), Mmio(0x2800_0000, 4), POWER_OFF]).run().machine
    stats = vm.stats()
    assert stats == Stats(
        seconds=0.0,
        counters={
            "cpu0 exits": {"Mmio": 3},
            "accesses": {"nowhere": 2, "test@100000": 1},
        },
        events={"bus": {"guest error: read where nothing is, in 0x28000000..0x2800ffff": 2}},
    )
    assert stats.counters == vm.counters()
    assert str(stats).splitlines() == [
        "machine time 0.000 s",
        "cpu0 exits: 3 Mmio",
        "accesses: 2 nowhere, 1 test@100000",
        "bus: 2 x guest error: read where nothing is, in 0x28000000..0x2800ffff",
    ]
