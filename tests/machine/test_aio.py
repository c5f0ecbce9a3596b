"""A machine in a program of coroutines."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import pytest

from bimetal.accel.script import ScriptCpu
from bimetal.base.errors import BimetalError
from bimetal.machine.aio import AsyncMachine
from bimetal.machine.expect import EndOfRun, TimedOut
from bimetal.machine.result import Ending, Result
from bimetal.seam import Exit, Mmio
from tests.machine.conftest import LIMIT, Script

UART, TEST = 0x1000_0000, 0x10_0000
POWER_OFF = Mmio(TEST, 4, write=True, value=0x5555)
Answer = TypeVar("Answer")


def busy(cpu: ScriptCpu) -> Exit:
    """A guest that never stops to read the serial port."""
    cpu.repeat()
    return Mmio(UART + 7, 1)


def prints(text: bytes) -> list[Exit]:
    return [Mmio(UART, 1, write=True, value=byte) for byte in text]


def echo(cpu: ScriptCpu) -> Exit | None:
    """A guest that waits until something was typed, and prints it until a q."""
    typed = cpu.answers[-1] if cpu.answers else 0
    if not isinstance(typed, int) or typed == ord("q"):
        return None
    cpu.repeat()
    if len(cpu.answers) % 2:
        cpu.answers.append(0)
        return Mmio(UART, 1, write=True, value=typed) if typed else Mmio(UART + 5, 1)
    return Mmio(UART, 1)


def run(main: Coroutine[object, object, Answer]) -> Answer:
    """Run to the end, and leave no thread behind but those of the event loop."""
    return asyncio.run(asyncio.wait_for(main, LIMIT), debug=True)


def test_a_conversation(script: Script) -> None:
    machine = script([*prints(b"login: "), POWER_OFF]).machine

    async def main() -> Result:
        async with AsyncMachine(machine) as vm:
            await vm.start()
            found = await vm.console.expect(re.compile("log(i)n: "))
            assert found.groups == ("i",)
            return await vm.wait()

    assert run(main()) == Result(Ending.POWER_OFF)
    assert "closed" in repr(machine)


def test_typing(script: Script) -> None:
    machine = script([echo, POWER_OFF]).machine

    async def main() -> None:
        async with AsyncMachine(machine) as vm:
            await vm.start()
            await vm.console.sendline("ab")
            await vm.console.expect("ab\n", timeout=LIMIT)
            await vm.console.send("q")
            await vm.wait(LIMIT)

    run(main())


def test_what_does_not_come(script: Script) -> None:
    machine = script([busy]).machine

    async def main() -> None:
        async with AsyncMachine(machine) as vm:
            with pytest.raises(BimetalError, match="not started"):
                await vm.wait()
            with pytest.raises(BimetalError, match="not started"):
                await vm.console.expect("login:")
            await vm.start()
            with pytest.raises(TimedOut, match=r"nothing like it came for 0\.01 s"):
                await vm.console.expect("login:", timeout=0.01)
            with pytest.raises(TimedOut, match=r"still runs after 0\.01 s"):
                await vm.wait(timeout=0.01)
            waiting = asyncio.create_task(vm.console.expect("login:", timeout=None))
            await asyncio.sleep(0)
            await vm.stop()
            with pytest.raises(EndOfRun, match="stopped from outside"):
                await waiting
            assert (await vm.wait()).ending is Ending.STOPPED

    run(main())


def test_the_event_loop_goes_on_while_the_machine_is_busy(script: Script) -> None:
    machine = script([busy]).machine

    async def main() -> None:
        async with AsyncMachine(machine) as vm:
            await vm.start()
            expecting = asyncio.create_task(vm.console.expect("x"))
            waiting = asyncio.create_task(vm.wait())
            with machine.console.lock:  # as if a device took long
                for _ in range(20):
                    await asyncio.sleep(0.001)
                assert not expecting.done()
            await vm.stop()
            with pytest.raises(EndOfRun):
                await expecting
            await waiting

    run(main())


def test_who_is_cancelled_takes_no_output_along(script: Script) -> None:
    gate = threading.Event()

    def open_gate(cpu: ScriptCpu) -> None:
        gate.wait(LIMIT)

    machine = script([open_gate, *prints(b"login: "), busy]).machine

    async def main() -> None:
        async with AsyncMachine(machine) as vm:
            await vm.start()
            tasks = [asyncio.create_task(vm.console.expect("login: ")) for _ in range(5)]
            waiting = asyncio.create_task(vm.wait())
            await asyncio.sleep(0.01)
            for task in (*tasks, waiting):
                task.cancel()
            done = await asyncio.gather(*tasks, waiting, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in done)
            gate.set()
            assert (await vm.console.expect("login: ", timeout=LIMIT)).before == ""
            assert machine.running

    run(main())


def test_cancelled_while_it_starts_it_is_closed_in_order(script: Script, tmp_path: Path) -> None:
    machine = script([busy]).machine
    entered, go_on = threading.Event(), threading.Event()
    start = machine.start

    def slowly() -> None:
        entered.set()
        go_on.wait(LIMIT)
        start()

    machine.start = slowly  # type: ignore[method-assign]

    async def live() -> None:
        async with AsyncMachine(machine) as vm:
            await vm.start()

    async def main() -> None:
        task = asyncio.create_task(live())
        await asyncio.to_thread(entered.wait, LIMIT)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "closed" in repr(machine)

    run(main())


def test_errors_of_the_start_are_those_of_the_machine(tmp_path: Path, script: Script) -> None:
    kernel = tmp_path / "empty"
    kernel.write_bytes(b"")
    machine = script([busy], kernel=str(kernel)).machine

    async def main() -> None:
        async with AsyncMachine(machine) as vm:
            with pytest.raises(BimetalError):
                await vm.start()

    run(main())


def test_two_machines_at_once(script: Script) -> None:
    machines = [script([*prints(name), POWER_OFF]).machine for name in (b"one", b"two")]

    async def live(number: int, name: str) -> str:
        async with AsyncMachine(machines[number]) as vm:
            await vm.start()
            text = (await vm.console.expect(name)).text
            await vm.wait()
            return text

    async def main() -> tuple[str, str]:
        one, two = await asyncio.gather(live(0, "one"), live(1, "two"))
        return one, two

    assert run(main()) == ("one", "two")
