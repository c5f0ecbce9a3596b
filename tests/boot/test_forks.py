"""Machines that are forked while they compute: each goes on from there, in its own way."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimetal import BimetalError, Machine, TimedOut
from bimetal.isa.riscv import rv64
from tests.boot.counting import arm_program, expected, riscv_program

LIMIT = 120
LETTERS = re.compile("[a-p]{40}")

Make = Callable[..., Machine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a machine that counts, and has printed something."""
    made: list[Machine] = []

    def make(board: str = "riscv-virt", accel: str = "jit", cpus: int = 1) -> Machine:
        program = (riscv_program if board == "riscv-virt" else arm_program)(tmp_path / "program")
        vm = Machine(
            board, kernel=program, bios="none", accel=accel, cpus=cpus, memory="8M",
            background=False,
        )  # fmt: skip
        made.append(vm)
        vm.start()
        vm.console.expect(re.compile("[a-p]"), LIMIT)
        return vm

    yield make
    for vm in made:
        vm.close()


@pytest.mark.parametrize(
    ("board", "accel", "cpus"),
    [("riscv-virt", "jit", 2), ("riscv-virt", "interp", 1), ("arm-virt", "jit", 1)],
)
def test_each_goes_on_from_there(board: str, accel: str, cpus: int, make: Make) -> None:
    vm = make(board, accel, cpus)
    with vm.fork(3) as forks:
        assert len({fork.pid for fork in forks} | {os.getpid()}) == 4
        logs = []
        for fork in forks:
            before = len(fork.console.log)
            while len(fork.console.log) < before + 40:
                fork.console.expect(re.compile("[A-Pa-p]"), LIMIT)
            fork.pause()
            logs.append(fork.console.log)
        before = len(vm.console.log)
        while len(vm.console.log) < before + 40:
            vm.console.expect(re.compile("[A-Pa-p]"), LIMIT)
        vm.pause()
        logs.append(vm.console.log)
    for log in logs:
        small = "".join(filter(str.islower, log))
        capital = "".join(filter(str.isupper, log))
        assert small == expected(len(small))
        assert capital == expected(len(capital), "A")


def test_memory_is_its_own(make: Make) -> None:
    vm = make()
    place = 0x8050_0000
    vm.memory.write(place, b"before")
    with vm.fork() as (fork,):
        vm.memory.write(place, b"parent")
        fork.write_memory(place + 8, b"child")
        assert fork.read_memory(place, 13) == b"before\0\0child"
        assert vm.memory.read(place, 13) == b"parent\0\0\0\0\0\0\0"


def test_a_fork_can_be_saved_and_stopped(make: Make, tmp_path: Path) -> None:
    vm = make()
    with vm.fork() as (fork,):
        fork.save(tmp_path / "snapshot", stop=True)
        assert fork.wait(LIMIT).code == 0
        assert not fork.running
        log = fork.console.log
    with Machine.restore(tmp_path / "snapshot", accel="interp") as again:
        again.start()
        again.console.expect(LETTERS, LIMIT)
        again.pause()
        small = "".join(filter(str.islower, log + again.console.log))
    assert small == expected(len(small))


def test_work_of_the_program_is_done_in_each(make: Make, tmp_path: Path) -> None:
    vm = make()

    def work(mine: Machine, number: int) -> None:
        mine.console.expect(LETTERS, LIMIT)
        (tmp_path / f"done-{number}").write_text(mine.console.log)

    with vm.fork(3, work) as forks:
        for fork in forks:
            assert os.waitpid(fork.pid, 0)[1] == 0
    for number in range(3):
        log = (tmp_path / f"done-{number}").read_text()
        small = "".join(filter(str.islower, log))
        assert small == expected(len(small))


def test_errors_are_those_of_a_machine(make: Make) -> None:
    vm = make()
    with vm.fork() as (fork,):
        with pytest.raises(TimedOut, match=r"did not show 'never': nothing like it came for 0.3 s"):
            fork.console.expect("never", 0.3)
        with pytest.raises(TimedOut, match="still runs after 0"):
            fork.wait(0)
        with pytest.raises(BimetalError, match="read_register"):
            fork.read_register(0, "x99")
        os.kill(fork.pid, signal.SIGKILL)
        with pytest.raises(BimetalError, match="is gone"):
            fork.console.expect(LETTERS, LIMIT)
    with pytest.raises(BimetalError, match="is closed"):
        fork.stop()
    with pytest.raises(BimetalError, match="fork 1 to"):
        vm.fork(0)
    vm.stop()
    with pytest.raises(BimetalError, match="it has ended"):
        vm.fork()


def test_a_fork_ends_with_the_process_that_made_it(make: Make, tmp_path: Path) -> None:
    """Here the process is a fork itself, which is killed."""
    vm = make()

    def work(mine: Machine, number: int) -> None:
        forks = mine.fork(2)
        (tmp_path / "pids").write_text(" ".join(str(fork.pid) for fork in forks))
        (tmp_path / "pids").rename(tmp_path / "ready")
        time.sleep(LIMIT)

    with vm.fork(1, work) as (fork,):
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        pids = [int(pid) for pid in (tmp_path / "ready").read_text().split()]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        os.kill(fork.pid, signal.SIGKILL)
        end = time.monotonic() + LIMIT
        while any(running(pid) for pid in pids):
            assert time.monotonic() < end
            time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether a process runs; who has ended may wait for init to take note."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_pool_hands_out_machines_that_begin_alike(make: Make) -> None:
    vm = make()
    with vm.pool(ready=2) as pool:
        begun = vm.console.log
        for _ in range(3):
            with pool.machine() as one, pool.machine() as other:
                for fork in (one, other):
                    fork.console.expect(LETTERS, LIMIT)
                    assert fork.console.log.startswith(begun)
                    small = "".join(filter(str.islower, fork.console.log))
                    assert small == expected(len(small))
        assert vm.console.log == begun
    with pytest.raises(BimetalError, match="the pool is closed"), pool.machine():
        pass
    vm.console.expect(LETTERS, LIMIT)


def test_a_fork_ends_whoever_was_forked_after_it(make: Make) -> None:
    vm = make()
    (first,), (second,) = vm.fork(), vm.fork()
    first._asker.close()
    assert os.waitpid(first.pid, 0)[1] == 0
    assert second.running
    first.close()
    second.close()


def test_what_gets_hot_in_a_fork_is_translated_there(tmp_path: Path) -> None:
    """The guest begins to compute, each time in code that nothing has seen, when it is told."""
    start = 0x8000_0000
    code = [
        "lui t0, 0x10000",  # the serial port
        "addi t1, zero, 62",
        "sb t1, 0(t0)",  # a prompt
        "lbu t1, 5(t0)",
        "andi t1, t1, 1",
        f"beq t1, zero, {start + 12:#x}",
        *[f"addi a0, a0, {random.randrange(2048)}" for _ in range(20)],
        f"jal zero, {start + 24:#x}",
    ]
    (tmp_path / "program").write_bytes(
        b"".join(rv64.assemble(line, start + 4 * n) for n, line in enumerate(code))
    )

    def translated(vm: Machine) -> int:
        return vm.counters()["cpu0"]["translated (estimate)"]

    def work(mine: Machine, number: int) -> None:
        mine.console.send("x")
        before, end = translated(mine), time.monotonic() + LIMIT
        while translated(mine) < before + 50_000_000:
            assert time.monotonic() < end
            time.sleep(0.01)

    with Machine(
        kernel=tmp_path / "program", kernel_format="raw", bios="none", memory="8M",
        background=False,
    ) as vm:  # fmt: skip
        vm.start()
        vm.console.expect(">")
        with vm.fork(1, work) as (fork,):
            assert os.waitpid(fork.pid, 0)[1] == 0
