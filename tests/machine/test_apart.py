"""Machines of one process share nothing: each does together with others what it does alone."""

from __future__ import annotations

import logging
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bimetal import Machine
from bimetal.base import trace
from bimetal.seam import Exit, Mmio
from tests.boot.bare import BASE, FAIL_WITH_A0, write_program
from tests.host import programs
from tests.machine.conftest import Script

LIMIT = 120
ROUNDS = 3


def at(number: int) -> str:
    """The address of an instruction of the program."""
    return hex(BASE + 4 * number)


def program(folder: Path, letter: str, code: int) -> Path:
    """Prints a letter 50 times, between loops and floating-point sums, and ends with a code."""
    lines = [
        "csrrs t1, 0xf14, zero",  # mhartid: the first hart works
        f"bne t1, zero, {at(1)}",
        "addi s5, a1, 0",  # the device tree
        "lui t0, 0x6",  # floating point on: mstatus.FS
        "csrrs zero, 0x300, t0",
        "lui s0, 0x10000",
        "addi s1, zero, 50",
        f"addi s2, zero, {ord(letter)}",
        "addi a1, zero, 3",
        "fcvt.d.l fa0, a1, rne",
        "addi s3, zero, 20",
        "addi s3, s3, -1",
        "fdiv.d fa1, fa0, fa0, rtz",
        "fadd.d fa0, fa0, fa1, rmm",  # no host rounds so: the reference does it
        f"bne s3, zero, {at(11)}",
        f"lui s3, {1 + code % 5:#x}",
        "addi s3, s3, -1",
        f"bne s3, zero, {at(16)}",
        "sb s2, 0(s0)",
        "addi s1, s1, -1",
        f"bne s1, zero, {at(10)}",
        f"addi a0, zero, {code}",
        *FAIL_WITH_A0,
        f"jal zero, {at(28)}",
    ]
    return write_program(folder / f"{letter}.elf", *lines)


def settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Machines that differ in all that a machine can differ in, by the letter that they print."""
    for letter in "ab":
        (folder / f"{letter}.img").write_bytes(letter.encode() * 4096)
    common = {"a": 3, "b": 64, "c": 100, "d": 7}
    made: dict[str, dict[str, Any]] = {
        "a": {"accel": "jit", "memory": "64M", "disks": ["a.img"], "append": "first"},
        "b": {"accel": "interp", "memory": "96M", "cpus": 3, "disks": ["b.img", "a.img"]},
        "c": {"accel": "jit", "memory": "128M", "cpus": 2, "append": "console=none third"},
        "d": {"accel": "interp", "memory": "64M", "hvc": "none"},
    }
    for letter, options in made.items():
        options["kernel"] = program(folder, letter, common[letter])
        options["disks"] = [folder / name for name in options.get("disks", [])]
    return made


def tree_of(vm: Machine, address: int) -> str:
    """The device tree in a machine's memory, without what is random in it."""
    (size,) = struct.unpack(">I", vm.memory.read(address + 4, 4))
    done = subprocess.run(
        ["dtc", "-I", "dtb", "-O", "dts", "-q"],
        input=vm.memory.read(address, size),
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    return "\n".join(line for line in lines if "rng-seed" not in line)


def play(options: dict[str, Any]) -> dict[str, object]:
    """Run a machine to its end; all that there is to see of it."""
    options = dict(options)
    disks = options.pop("disks")
    with Machine(bios="none", background=False, **options) as vm:
        for disk in disks:
            vm.disk(disk, snapshot=True)
        vm.start()
        result = vm.wait(LIMIT)
        cpu = vm.cpus[0]
        return {
            "code": result.code,
            "printed": vm.console.read(),
            "registers": {name: cpu[name] for name in ("fa0", "a0", "pc", "s1")},
            "tree": tree_of(vm, cpu["s5"]),
            "map": vm.info_mtree(),
            "accesses": vm.counters()["accesses"],
        }


@pytest.fixture
def crowd(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return settings(tmp_path)


@programs("dtc")
def test_machines_at_once_do_what_each_does_alone(crowd: dict[str, dict[str, Any]]) -> None:
    alone = {letter: play(options) for letter, options in crowd.items()}
    for letter, outcome in alone.items():
        assert outcome["printed"] == letter * 50
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(len(crowd)) as pool:
            together = dict(zip(crowd, pool.map(play, crowd.values()), strict=True))
        assert together == alone


@pytest.fixture
def untraced() -> Iterator[None]:
    yield
    trace.configure("")


@pytest.mark.usefixtures("untraced")
def test_a_machine_goes_on_to_trace_what_it_began_with(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    exits: list[Exit] = [Mmio(0x1000_0005, 1), Mmio(0x10_0000, 4, write=True, value=0x5555)]
    traced = {}
    for stage in ("mmio", "exit", ""):
        trace.configure(stage)
        traced[stage] = script(list(exits))
        assert len(traced[stage].machine.cpus) == 1
    for stage, board in traced.items():
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "bimetal.trace"):
            board.run()
        assert {record.name for record in caplog.records} == (
            {f"bimetal.trace.{stage}"} if stage else set()
        )
