"""Why machines are slow: each cause is made to happen, and is found."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from bimetal.base.errors import BimetalError
from bimetal.machine import observing
from bimetal.machine.explaining import Cause, Explanation, explain
from bimetal.machine.machine import Machine
from bimetal.machine.observing import Cpu, Host, Observation, look_at_host, why_no_kvm
from tests.boot.bare import BASE, write_program

SECONDS = 0.5

IDLE = ("wfi", f"jal zero, {BASE:#x}")
SPIN = (f"jal zero, {BASE:#x}",)
POLL = ("lui t0, 0x10000", "lbu t1, 5(t0)", f"jal zero, {BASE + 4:#x}")
"""Asks the serial port for its state, again and again."""

CHANGE = (
    "auipc t0, 0",
    "lui t2, 0x100",  # the lowest bit of a number in an instruction
    "lw t1, 24(t0)",
    "xor t1, t1, t2",
    "sw t1, 24(t0)",
    "fence.i",
    "addi zero, zero, 0",  # which is that instruction
    f"jal zero, {BASE + 8:#x}",
)
"""Writes to its own code, again and again."""


@contextmanager
def running(
    tmp_path: Path, *program: str, cpus: int = 1, accel: str = "interp"
) -> Iterator[Machine]:
    kernel = write_program(tmp_path / "kernel.elf", *program)
    with Machine(memory="16M", kernel=kernel, cpus=cpus, accel=accel, background=False) as machine:
        machine.start()
        yield machine


def cause(found: Explanation, name: str) -> Cause:
    """The cause of that name, which has to be there."""
    assert name in [each.name for each in found.causes], str(found)
    return next(each for each in found.causes if each.name == name)


def test_there_is_no_kvm_for_another_kind_of_processor(tmp_path: Path) -> None:
    with running(tmp_path, *IDLE) as machine:
        found = cause(machine.explain(SECONDS), "no KVM")
    assert f"KVM runs guests of the host's own kind, {platform.machine()}" in found.seen
    assert "the accelerator is interp" in found.seen


def test_there_is_no_kvm_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "check_kvm", _broken)
    assert "it is broken: mend it" in why_no_kvm(platform.machine())


def _broken() -> str:
    raise BimetalError("it is broken", "mend it")


def test_code_is_interpreted_and_the_guest_spins(tmp_path: Path) -> None:
    with running(tmp_path, *SPIN) as machine:
        found = machine.explain(SECONDS)
    assert cause(found, "interpreted").seen.startswith("100% of ")
    assert f"cpu0 executes between {BASE:#x} and {BASE:#x}" in cause(found, "spinning guest").seen
    assert "million instructions a second" in found.doing


def test_a_guest_that_sleeps_has_no_such_causes(tmp_path: Path) -> None:
    with running(tmp_path, *IDLE) as machine:
        found = machine.explain(SECONDS)
    assert not {"interpreted", "spinning guest", "exits", "thrashing code"} & {
        each.name for each in found.causes
    }


def test_exits(tmp_path: Path) -> None:
    with running(tmp_path, *POLL) as machine:
        found = machine.explain(SECONDS)
    assert cause(found, "exits").seen.startswith("uart@10000000: ")


def test_code_that_changes(tmp_path: Path) -> None:
    with running(tmp_path, *CHANGE) as machine:
        found = machine.explain(SECONDS)
    assert "pages of code a second" in cause(found, "thrashing code").seen


def test_more_cpus_than_processors(tmp_path: Path) -> None:
    there = len(os.sched_getaffinity(0))
    with running(tmp_path, *IDLE, cpus=there + 1) as machine:
        found = cause(machine.explain(SECONDS), "more CPUs than processors")
    assert found.remedy == f"give the machine {there} CPUs"


def test_a_busy_host(tmp_path: Path) -> None:
    """The machine shares one processor with two programs that never rest."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    try:
        hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        try:
            with running(tmp_path, *SPIN) as machine:
                found = machine.explain(2 * SECONDS)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
    finally:
        os.sched_setaffinity(0, all_of_them)
    assert "for a processor of the host" in cause(found, "busy host").seen


def test_a_paused_machine(tmp_path: Path) -> None:
    with running(tmp_path, *SPIN) as machine:
        machine.pause()
        found = machine.explain(SECONDS)
    assert found.doing == "the machine is paused"
    assert "spinning guest" not in [each.name for each in found.causes]


def seen(second: float, host: Host, flushes: int = 0) -> Observation:
    return Observation(second, "kvm", False, {}, (Cpu(0),), host, {"disk0": flushes})


def host_of(folder: Path, *, stolen: int, pressure: float, swap: int, faults: int) -> Host:
    """The host that files like those in /proc tell of."""
    folder.mkdir()
    (folder / "pressure").mkdir()
    (folder / "self").mkdir()
    (folder / "stat").write_text(f"cpu 100 0 0 {1000 - stolen} 0 0 0 {stolen} 0 0\ncpu0 ...\n")
    (folder / "pressure" / "memory").write_text(f"some avg10={pressure} avg60=0 avg300=0 total=1\n")
    (folder / "self" / "status").write_text(f"VmRSS:\t  2048 kB\nVmSwap:\t{swap} kB\n")
    (folder / "self" / "stat").write_text(f"1 (a) b) S 1 1 1 0 0 0 0 0 {faults} 0 0\n")
    return look_at_host(folder)


def test_the_hosts_time_and_memory(tmp_path: Path) -> None:
    first = host_of(tmp_path / "1", stolen=0, pressure=0, swap=0, faults=0)
    last = host_of(tmp_path / "2", stolen=300, pressure=42.5, swap=4096, faults=500)
    last = replace(last, seconds=first.seconds + 10)
    found = explain([seen(0, first), seen(1, last)])
    assert "30% of the time" in cause(found, "steal time").seen
    told = cause(found, "memory pressure").seen
    assert "42% of the time" in told
    assert "4 MiB of the machine are in swap, 500 pages a second were read back" in told
    assert "2 MiB are in memory" in told
    assert look_at_host(tmp_path / "missing").seconds == 0.0
    quiet = explain([seen(0, first), seen(1, first)])
    assert quiet.causes == ()
    assert "nothing was found" in str(quiet)


def test_disk_flushes() -> None:
    host = Host(2)
    found = explain([seen(0, host), seen(2, host, flushes=200)])
    assert cause(found, "disk flushes").seen.startswith("disk0: 100 flushes a second")
