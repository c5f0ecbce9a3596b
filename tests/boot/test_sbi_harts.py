"""Harts that call the machine's SBI: they wait, wake each other, and say who is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import Machine
from tests.boot.bare import END, FAIL_WITH_A0, labelled, write_program

SIE, SIP, SATP = 0x104, 0x144, 0x180
HSM = ("lui a7, 0x485", "addi a7, a7, 0x34D")
IPI = ("lui a7, 0x735", "addi a7, a7, 0x049")
START, STATUS, SUSPEND = 0, 2, 3
STARTED, SUSPENDED = 0, 4


def call(extension: tuple[str, ...], function: int, *arguments: str) -> tuple[str, ...]:
    """An SBI call; an argument is an instruction that sets its register."""
    return (*arguments, f"addi a6, zero, {function}", *extension, "ecall")


def wait_for(state: int, label: str) -> tuple[str, ...]:
    """Ask for the state of hart 1 until it is this one."""
    ask = call(HSM, STATUS, "addi a0, zero, 1")
    return (f"{label}:", *ask, f"addi t0, zero, {state}", f"bne a1, t0, {{{label}}}")


START_SECOND = call(HSM, START, "addi a0, zero, 1", "la a1, second", "addi a2, zero, 77")
WAKE_SECOND = call(IPI, 0, "addi a0, zero, 2", "addi a1, zero, 0")
LET_IPI_WAKE = f"csrrsi zero, {SIE}, 2"
FLAG = ("lui t1, 0x80100", "slli t1, t1, 32", "srli t1, t1, 32")
"""In t1, the address of a word that is 0 at first."""


def run(path: Path, accel: str, *lines: str) -> int:
    """The code that a program ends with, which hart 0 begins in S-mode."""
    kernel = write_program(path, *labelled(*lines))
    with Machine(memory="16M", cpus=2, kernel=kernel, accel=accel) as vm:
        vm.start()
        return vm.wait(60).code


accelerators = pytest.mark.parametrize("accel", ["jit", "interp"])


@accelerators
def test_a_suspended_hart_is_seen_and_woken(tmp_path: Path, accel: str) -> None:
    """The kind has 32 bits; what else is in the register does not matter."""
    code = run(
        tmp_path / "p.elf",
        accel,
        *START_SECOND,
        *wait_for(SUSPENDED, "asleep"),
        *FLAG,
        "ld a0, 0(t1)",
        "bne a0, zero, {fail}",  # nobody has gone on
        *WAKE_SECOND,
        *wait_for(STARTED, "awake"),
        *FLAG,
        "done:",
        "ld a0, 0(t1)",
        "beq a0, zero, {done}",
        *FAIL_WITH_A0,
        "fail:",
        "addi a0, zero, 1",
        *FAIL_WITH_A0,
        "second:",
        LET_IPI_WAKE,
        *call(HSM, SUSPEND, "addi a0, zero, 1", "slli a0, a0, 32"),
        "addi a0, a0, 42",
        *FLAG,
        "sd a0, 0(t1)",
        "spin:",
        "jal zero, {spin}",
    )
    assert code == 42


@accelerators
def test_a_hart_goes_on_elsewhere_when_it_is_woken(tmp_path: Path, accel: str) -> None:
    code = run(
        tmp_path / "p.elf",
        accel,
        *START_SECOND,
        *wait_for(SUSPENDED, "asleep"),
        *WAKE_SECOND,
        *wait_for(STARTED, "awake"),
        "wait:",
        "jal zero, {wait}",
        "second:",
        LET_IPI_WAKE,
        "la a1, resumed",
        "addi a1, a1, 1",
        *call(HSM, SUSPEND, "lui a0, 0x80000", "addi a2, zero, 30"),
        "addi a0, zero, 1",
        *FAIL_WITH_A0,
        "resumed:",
        "add a0, a0, a1",  # its number and what it asked for
        *FAIL_WITH_A0,
    )
    assert code == 31


@accelerators
def test_a_timer_wakes_a_suspended_hart(tmp_path: Path, accel: str) -> None:
    code = run(
        tmp_path / "p.elf",
        accel,
        "addi t0, zero, 32",
        f"csrrw zero, {SIE}, t0",
        "csrrs t0, time, zero",
        "lui t1, 0x10",
        "add t1, t0, t1",
        "csrrw zero, stimecmp, t1",
        *call(HSM, SUSPEND, "addi a0, zero, 0"),
        "csrrs t2, time, zero",
        "sltu a0, t2, t1",  # 1 if it is too early
        "bne a0, zero, {fail}",
        *END,
        "fail:",
        *FAIL_WITH_A0,
    )
    assert code == 0


@accelerators
def test_legacy_calls_know_harts_by_a_mask_in_virtual_memory(tmp_path: Path, accel: str) -> None:
    """The second gigabyte leads to the third, where RAM is; hart 1 is woken by a mask there."""
    code = run(
        tmp_path / "p.elf",
        accel,
        *START_SECOND,
        *wait_for(SUSPENDED, "asleep"),
        *FLAG,
        "addi t2, zero, 2",
        "sd t2, 8(t1)",  # the mask: hart 1
        "lui t3, 0x1",
        "add t3, t1, t3",  # a page table
        "lui t2, 0x20000",
        "addi t2, t2, 0xCF",  # RAM with all rights
        "sd t2, 8(t3)",
        "sd t2, 16(t3)",
        "srli t3, t3, 12",
        "addi t4, zero, 8",
        "slli t4, t4, 60",
        "or t3, t3, t4",
        f"csrrw zero, {SATP}, t3",
        "sfence.vma zero, zero",
        "lui a0, 0x40100",
        "addi a0, a0, 8",
        "addi a7, zero, 4",
        "ecall",
        "bne a0, zero, {fail}",
        "wait:",
        "jal zero, {wait}",
        "fail:",
        "addi a0, zero, 1",
        *FAIL_WITH_A0,
        "second:",
        LET_IPI_WAKE,
        *call(HSM, SUSPEND, "addi a0, zero, 0"),
        "addi a7, zero, 3",
        "ecall",  # 1 for the interrupt that it takes back
        f"csrrs t0, {SIP}, zero",
        "andi t0, t0, 2",
        "bne t0, zero, {fail}",
        "addi a0, a0, 20",
        *FAIL_WITH_A0,
    )
    assert code == 21
