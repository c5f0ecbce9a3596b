"""Guests that misbehave: they get a trap or an event in the log, and the process lives on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bimetal import Ending, Machine
from tests.boot.bare import BASE, END, FAIL_WITH_A0, write_program

# "Privileged Architecture", Machine-Level CSRs
MTVEC, MEPC, MCAUSE = 0x305, 0x341, 0x342
REPORT_CAUSE = (f"csrrs a0, {MCAUSE}, zero", *FAIL_WITH_A0)
SET_HANDLER = ("auipc t0, 0", "addi t0, t0, {distance}", f"csrrw zero, {MTVEC}, t0")
SKIP_FAULTS = (
    "auipc t0, 0",
    "addi t0, t0, 12",
    f"jal zero, {BASE + 28:#x}",
    f"csrrs t4, {MEPC}, zero",  # 12: the handler
    "addi t4, t4, 4",
    f"csrrw zero, {MEPC}, t4",
    "mret",
    f"csrrw zero, {MTVEC}, t0",
)
"""Sets a handler that skips what there is nothing for; the next instruction stands at 32."""
INSTRUCTION_ACCESS_FAULT, ILLEGAL_INSTRUCTION = 1, 2


def machine(program: Path) -> Machine:
    return Machine("riscv-virt", memory="16M", bios="none", kernel=str(program))


def trapping(path: Path, *lines: str | bytes) -> Path:
    """A program that runs ``lines`` and ends with the cause of the trap they lead to."""
    distance = 12 + 4 * len(lines)
    handler = [line.format(distance=distance) for line in SET_HANDLER]
    return write_program(path, *handler, *lines, *REPORT_CAUSE)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (("lui t1, 0x40000", "jalr zero, 0(t1)"), INSTRUCTION_ACCESS_FAULT),
        (("addi t1, zero, -2", "jalr zero, 0(t1)"), INSTRUCTION_ACCESS_FAULT),
        ((bytes(4),), ILLEGAL_INSTRUCTION),
        ((b"\xff\xff\xff\xff",), ILLEGAL_INSTRUCTION),
    ],
)
def test_a_jump_into_nowhere_is_a_trap(tmp_path: Path, lines: tuple[str, ...], cause: int) -> None:
    with machine(trapping(tmp_path / "p.elf", *lines)) as vm:
        vm.start()
        assert vm.wait(60).code == cause


def test_a_guest_that_faults_for_ever_can_be_stopped(tmp_path: Path) -> None:
    program = write_program(tmp_path / "p.elf", f"csrrw zero, {MTVEC}, zero", "jalr zero, 0(zero)")
    with machine(program) as vm:
        vm.start()
        with pytest.raises(TimeoutError):
            vm.wait(0.2)
        vm.stop()
        assert vm.wait().ending is Ending.STOPPED


@pytest.mark.parametrize("accel", ["jit", "interp"])
@pytest.mark.parametrize(
    ("vector", "told"),
    [
        (0, "it takes trap after trap at 0x0, where there is no memory, and executes nothing"),
        (BASE + 0x1000, f"it takes trap after trap at {BASE + 0x1000:#x} and executes nothing"),
    ],
)
def test_a_cpu_that_executes_nothing_is_told_once(
    tmp_path: Path, accel: str, vector: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its trap handler is not in memory, or is no instruction."""
    page = (f"lui t0, {vector >> 12:#x}", "slli t0, t0, 32", "srli t0, t0, 32")
    program = write_program(tmp_path / "p.elf", *page, f"csrrw zero, {MTVEC}, t0", "ecall")
    with Machine(memory="16M", cpus=2, bios="none", kernel=program, accel=accel) as vm:
        vm.start()
        while "cpu1" not in vm.stats().events or "cpu0" not in vm.stats().events:
            with pytest.raises(TimeoutError):
                vm.wait(0.05)
        with pytest.raises(TimeoutError):
            vm.wait(0.3)
        events = vm.stats().events
    for cpu in ("cpu0", "cpu1"):
        assert events[cpu] == {f"guest error: {told}": 1}
        records = [each for each in caplog.records if each.name == f"bimetal.{cpu}"]
        assert [each.getMessage() for each in records] == [f"guest error: {told}"]


def test_a_guest_that_writes_everywhere(tmp_path: Path) -> None:
    sweep = (
        *SKIP_FAULTS,
        "addi t0, zero, 0",
        "lui t1, 0x80000",  # up to memory; sign-extended, so make it positive
        "slli t1, t1, 32",
        "srli t1, t1, 32",
        "lui t2, 0x10",  # in steps of 64 KiB and a little, to meet odd registers
        "addi t2, t2, 4",
        "sd zero, 0(t0)",  # 56: the loop
        "sw t0, 4(t0)",
        "lhu t3, 2(t0)",
        "add t0, t0, t2",
        "bltu t0, t1, {0}",
    )
    loop = hex(BASE + 56)
    program = write_program(tmp_path / "p.elf", *(line.format(loop) for line in sweep), *END)
    with machine(program) as vm:
        vm.start()
        vm.wait(120)
        assert "guest error" in str(vm.stats())


def test_a_guest_that_writes_all_over_the_devices(tmp_path: Path) -> None:
    for first, last in (
        (0x0200_0000, 0x0200_0040),
        (0x0C00_0000, 0x0C00_0400),
        (0x1000_0000, 0x1000_9000),
    ):
        lines = (
            *SKIP_FAULTS,
            f"lui t0, {first >> 12:#x}",
            f"lui t1, {last >> 12:#x}",
            f"addi t1, t1, {last & 0xFFF}",
            "addi t2, zero, -1",
            "sw t2, 0(t0)",  # 48: the loop
            "lw t3, 0(t0)",
            "addi t0, t0, 4",
            f"bltu t0, t1, {BASE + 48:#x}",
            *END,
        )
        with machine(write_program(tmp_path / "p.elf", *lines)) as vm:
            vm.start()
            assert vm.wait(120).code == 0


@pytest.mark.parametrize("accel", ["jit", "interp"])
def test_a_hart_that_is_started_at_an_odd_address(tmp_path: Path, accel: str) -> None:
    """Firmware enters a hart by mret, and mepc has no bit 0 (RISC-V II 3.1.14)."""
    program = write_program(
        tmp_path / "p.elf",
        f"bne a0, zero, {BASE + 44:#x}",
        "addi a0, zero, 1",
        "auipc a1, 0",
        "addi a1, a1, -7",
        "addi a6, zero, 0",
        "lui a7, 0x485",
        "addi a7, a7, 0x34D",
        "ecall",
        f"bne a0, zero, {BASE + 44:#x}",
        "wfi",
        f"jal zero, {BASE + 36:#x}",
        "addi a0, a0, 40",
        *FAIL_WITH_A0,
    )
    with Machine(memory="16M", cpus=2, kernel=program, accel=accel) as vm:
        vm.start()
        assert vm.wait(60).code == 41


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_as_a_program(tmp_path: Path, seed: int) -> None:
    noise = random.Random(seed).randbytes(4096)
    with machine(write_program(tmp_path / "p.elf", noise)) as vm:
        vm.start()
        try:
            vm.wait(0.2)
        except TimeoutError:
            vm.stop()
        assert vm.result is not None
