"""What can be seen of a machine at one moment, for finding out why it is slow."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from bimetal.accel.kvm.examine import check_kvm
from bimetal.base.clock import monotonic_seconds
from bimetal.base.errors import BimetalError
from bimetal.machine.counting import counters_of
from bimetal.machine.cpu_view import PROGRAM_COUNTERS, CpuView
from bimetal.machine.drives import drives_of
from bimetal.machine.runner import Runner

__all__ = ["Cpu", "Host", "Observation", "look_at_host", "observe", "why_no_kvm"]

NANOSECONDS = 1_000_000_000
PROC = Path("/proc")


class Cpu(Struct, frozen=True):
    """A CPU: where it executes, and the seconds that the host's processors have worked for it, and
    that it has waited for them."""

    pc: int
    worked: float = 0.0
    waited: float = 0.0


class Host(Struct, frozen=True):
    """The host: its processors, their time in seconds since it was started, and how much of that
    another machine has had, below which this host is one; the share of time in which something has
    waited for memory, in percent, over ten seconds; and of this process bytes in memory and in
    swap, and how often it had to wait for a page to be read."""

    cpus: int
    seconds: float = 0.0
    stolen: float = 0.0
    memory_pressure: float = 0.0
    resident: int = 0
    swapped: int = 0
    faults: int = 0


class Observation(Struct, frozen=True):
    """A machine at the moment ``seconds``: what it has counted, see `Machine.counters`, its CPUs,
    the host, and how often each of its disks was flushed. ``no_kvm`` says why it does not run by
    KVM, "" if it does, or if that was not asked."""

    seconds: float
    accel: str
    paused: bool
    counters: Mapping[str, Mapping[str, int]]
    cpus: tuple[Cpu, ...]
    host: Host
    flushes: Mapping[str, int] = field(default_factory=dict)
    no_kvm: str = ""


def observe(runner: Runner, *, paused: bool, isa: str = "") -> Observation:
    """Look at a machine that runs; with its ``isa`` also why it does not run by KVM."""
    with runner.locked():
        drives = drives_of(runner)
    counters = counters_of(runner)
    accel = runner.accelerator.name
    return Observation(
        monotonic_seconds(),
        accel,
        paused,
        counters,
        tuple(_cpu(CpuView(runner, vcpu)) for vcpu in runner.vcpus),
        look_at_host(),
        {drive.name: drive.traffic.flushes for drive in drives},
        why_no_kvm(isa) if isa and accel != "kvm" else "",
    )


def why_no_kvm(isa: str) -> str:
    """Why a machine with that instruction set does not run by KVM."""
    own = platform.machine()
    if isa != own:
        return f"KVM runs guests of the host's own kind, {own}, and this one is {isa}"
    try:
        check_kvm()
    except BimetalError as error:
        return f"{error.cause}: {error.remedy}" if error.remedy else error.cause
    return "another accelerator was asked for: KVM works here"


def look_at_host(proc: Path = PROC) -> Host:
    """The host, as the files in ``proc`` tell (proc(5)). What they do not tell is 0."""
    cpus = len(os.sched_getaffinity(0))
    tick = os.sysconf("SC_CLK_TCK")
    seconds = stolen = pressure = 0.0
    resident = swapped = faults = 0
    with suppress(OSError, ValueError, IndexError):
        times = [int(each) for each in _read(proc / "stat").split("\n", 1)[0].split()[1:9]]
        seconds, stolen = sum(times) / tick, times[7] / tick
    with suppress(OSError, ValueError, IndexError):
        line = _read(proc / "pressure" / "memory").splitlines()[0]
        pressure = float(line.split("avg10=")[1].split()[0])
    with suppress(OSError, ValueError, IndexError):
        for line in _read(proc / "self" / "status").splitlines():
            name, _, value = line.partition(":")
            if name == "VmRSS":
                resident = int(value.split()[0]) << 10
            elif name == "VmSwap":
                swapped = int(value.split()[0]) << 10
    with suppress(OSError, ValueError, IndexError):
        faults = int(_read(proc / "self" / "stat").rpartition(")")[2].split()[9])
    return Host(cpus, seconds, stolen, pressure, resident, swapped, faults)


def _cpu(view: CpuView) -> Cpu:
    worked = waited = 0.0
    with suppress(OSError, ValueError, IndexError):
        path = PROC / "self" / "task" / str(view.thread_id) / "schedstat"
        first, second = _read(path).split()[:2]
        worked, waited = int(first) / NANOSECONDS, int(second) / NANOSECONDS
    pc = next(view[name] for name in PROGRAM_COUNTERS if name in view)
    return Cpu(pc, worked, waited)


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace")
