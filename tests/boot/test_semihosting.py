"""Bare programs that ask for the console, the time and their end by semihosting."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import BimetalError, Machine
from bimetal.accel.script import ScriptAccelerator
from tests.boot.bare import BASE, END, labelled, write_program

CALL = ("slli zero, zero, 31", "ebreak", "srai zero, zero, 7")
WRITEC, READC, EXIT = 0x03, 0x07, 0x18
DATA = ("auipc a1, 0x10", "sd t0, 0(a1)")
"""A word in memory, from t0 to where a1 leads then."""

accelerators = pytest.mark.parametrize("accel", ["jit", "interp"])


def ask(operation: int) -> tuple[str, ...]:
    return (f"addi a0, zero, {operation}", *CALL)


def end(code: str) -> tuple[str, ...]:
    """End with the code in a register."""
    return (
        f"addi t1, {code}, 0",
        "lui t0, 0x20",
        "addi t0, t0, 0x26",
        *DATA,
        "sd t1, 8(a1)",
        *ask(EXIT),
        "forever:",
        "jal zero, {forever}",
    )


def machine(path: Path, accel: str, *lines: str, semihosting: bool = True) -> Machine:
    program = write_program(path, *labelled(*lines))
    return Machine(memory="16M", bios="none", kernel=program, accel=accel, semihosting=semihosting)


@accelerators
def test_a_program_prints_and_ends_with_its_code(tmp_path: Path, accel: str) -> None:
    letters = [(f"addi t0, zero, {ord(each)}", *DATA, *ask(WRITEC)) for each in "two strips\n"]
    lines = [line for letter in letters for line in letter]
    with machine(tmp_path / "p.elf", accel, *lines, "addi t2, zero, 42", *end("t2")) as vm:
        vm.start()
        assert vm.wait(60).code == 42
        assert vm.console.log == "two strips\n"


@accelerators
def test_a_program_waits_for_what_is_typed(tmp_path: Path, accel: str) -> None:
    """It adds up two letters, one of which is typed later, and sleeps between them."""
    read = ("addi a1, zero, 0", *ask(READC))
    asked = ("addi t0, zero, 62", *DATA, *ask(WRITEC))
    program = (*asked, *read, "addi t2, a0, 0", *asked, *read, "add t2, t2, a0", *end("t2"))
    with machine(tmp_path / "p.elf", accel, *program) as vm:
        vm.start()
        vm.console.expect(">", timeout=60)
        vm.console.send("A")
        vm.console.expect(">", timeout=60)
        with pytest.raises(TimeoutError):
            vm.wait(0.3)
        before = vm.counters()["cpu0 exits"]["Semihosting"]
        with pytest.raises(TimeoutError):
            vm.wait(0.3)
        assert vm.counters()["cpu0 exits"]["Semihosting"] - before < 5
        vm.console.send("B")
        assert vm.wait(60).code == ord("A") + ord("B")


@accelerators
def test_what_is_typed_before_a_program_asks_is_not_lost(tmp_path: Path, accel: str) -> None:
    """The serial port has it by then."""
    busy = (
        "csrrs t0, time, zero",
        "lui t1, 0x4C5",
        "add t1, t0, t1",  # half a second later
        "busy:",
        "csrrs t0, time, zero",
        "bltu t0, t1, {busy}",
    )
    read = ("addi a1, zero, 0", *ask(READC))
    program = (*busy, *read, "addi t2, a0, 0", *read, "sub t2, t2, a0", *end("t2"))
    with machine(tmp_path / "p.elf", accel, *program) as vm:
        vm.start()
        vm.console.send("zA")
        assert vm.wait(60).code == ord("z") - ord("A")


@accelerators
def test_without_semihosting_it_is_told_once_what_to_do(
    tmp_path: Path, accel: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = ("la t0, handler", "csrrw zero, mtvec, t0", "addi t3, zero, 3", "again:", *ask(EXIT))
    back = ("addi t3, t3, -1", "bne t3, zero, {again}", *END)
    traps = ("handler:", "csrrs t0, mepc, zero", "addi t0, t0, 4", "csrrw zero, mepc, t0", "mret")
    program = (*handler, *back, *traps)
    with machine(tmp_path / "p.elf", accel, *program, semihosting=False) as vm:
        vm.start()
        assert vm.wait(60).code == 0
    hints = [each.getMessage() for each in caplog.records if "semihosting" in each.getMessage()]
    assert len(hints) == 1
    assert "--semihosting" in hints[0]


@accelerators
def test_a_program_learns_where_its_heap_may_be(tmp_path: Path, accel: str) -> None:
    """Behind itself, and before the device tree."""
    program = (
        "la t0, block",
        "sd t0, 0(t0)",
        "addi a1, t0, 0",
        *ask(0x16),
        "ld t1, 0(t0)",
        "ld t2, 8(t0)",
        "sub t2, t2, t1",
        "srli t2, t2, 20",  # MiB
        *end("t2"),
        "block:",
        *["addi zero, zero, 0"] * 8,
    )
    with machine(tmp_path / "p.elf", accel, *program) as vm:
        vm.start()
        assert vm.wait(60).code == 13  # of 16: 2 MiB for the tree, and what is less than one
        assert vm.memory.read(BASE, 4) != bytes(4)


def test_semihosting_needs_cpus_that_know_it(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes(64))
    vm = Machine(kernel=kernel, kernel_format="raw", accel=ScriptAccelerator(), semihosting=True)
    with vm, pytest.raises(BimetalError, match="knows no semihosting"):
        vm.start()


def test_semihosting_that_an_instruction_set_lacks_is_not_promised(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes(64))
    vm = Machine("microvm", kernel=kernel, kernel_format="raw", semihosting=True)
    with vm, pytest.raises(BimetalError, match="not there for x86_64"):
        vm.start()
