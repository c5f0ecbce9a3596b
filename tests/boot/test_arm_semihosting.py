"""A bare program of AArch64 that asks for the console and its end by semihosting."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from bimetal import Machine
from tests.host import programs

COMPILER = "aarch64-linux-gnu-gcc"
SOURCE = Path(__file__).parent / "programs" / "semihosting.c"
OPTIONS = (
    "-O1 -ffreestanding -fno-pic -no-pie -nostdlib -static -mgeneral-regs-only -mstrict-align"
    " -Wl,--build-id=none -Wl,-Ttext=0x40200000 -Wl,--no-warn-rwx-segments"
).split()

pytestmark = [programs(COMPILER), pytest.mark.parametrize("accel", ["jit", "interp"])]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, linked for RAM of arm-virt."""
    path = tmp_path_factory.mktemp("semihosting") / "asks.elf"
    subprocess.run([COMPILER, *OPTIONS, str(SOURCE), "-o", str(path)], check=True)
    return path


def machine(program: Path, accel: str, words: str, board: str = "arm-virt") -> Machine:
    return Machine(board, memory="16M", kernel=program, accel=accel, append=words, semihosting=True)


@pytest.mark.parametrize("where", ["", "0"], ids=["EL1", "EL0"])
def test_it_prints_and_ends_with_its_code(program: Path, accel: str, where: str) -> None:
    with machine(program, accel, f"{where}print") as vm:
        vm.start()
        assert vm.wait(60).code == 42
        assert vm.console.log == "two strips\n"


def test_it_is_answered_at_el2(program: Path, accel: str) -> None:
    with machine(program, accel, "print", "arm-virt,virtualization=on") as vm:
        vm.start()
        assert vm.wait(60).code == 42


def test_it_waits_for_what_is_typed(program: Path, accel: str) -> None:
    with machine(program, accel, "read") as vm:
        vm.start()
        vm.console.expect(">", timeout=60)
        vm.console.send("A")
        vm.console.expect(">", timeout=60)
        vm.console.send("B")
        assert vm.wait(60).code == ord("A") + ord("B")


def test_what_was_typed_before_it_asks_is_for_it(program: Path, accel: str) -> None:
    with machine(program, accel, "late") as vm:
        vm.start()
        vm.console.expect(">", timeout=60)
        vm.console.send("A")
        assert vm.wait(60).code == ord("A")


def test_it_learns_where_its_heap_may_be(program: Path, accel: str) -> None:
    """Behind itself, at 2 MiB, and before the device tree's 2 MiB at the end of 16."""
    with machine(program, accel, "heap") as vm:
        vm.start()
        assert vm.wait(60).code == 11


def hints_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of semihosting."""
    messages = [each.getMessage() for each in caplog.records]
    return [message for message in messages if "semihosting" in message]


def test_without_semihosting_it_is_told_what_to_do(
    program: Path, accel: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The call is an undefined instruction then, and this program has no handler for it."""
    with Machine("arm-virt", memory="16M", kernel=program, accel=accel) as vm:
        vm.start()
        deadline = time.monotonic() + 60
        while not (hints := hints_of(caplog)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert vm.console.log == ""
    assert len(hints) == 1
    assert "--semihosting" in hints[0]
