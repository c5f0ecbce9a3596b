"""What an exit of KVM costs in Python, beside the same loop in C on the same vCPU.

    python -m bench.kvm_exits [--rounds N]

Each way of running the vCPU takes its turn in every round, so that whatever else the host does
strikes all of them; the median of the rounds is shown. The loop in C needs a C compiler.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.x86_cpu import X86Cpu
from bimetal.base.errors import BimetalError
from bimetal.seam import Doorbell
from tests.accel.kvm.guest import DEVICE, guest_machine
from tests.accel.kvm.quirks import KVM_MISSING

__all__ = ["main"]

C_LOOP = """
#include <sys/ioctl.h>
#include <linux/kvm.h>
int loop(int fd, volatile struct kvm_run *run, int count) {
    unsigned reasons = 0;
    while (count--) {
        ioctl(fd, KVM_RUN, 0);
        reasons |= run->exit_reason;
    }
    return reasons;
}
"""
GUESTS = {
    "port write": "1: out 0x10, al; jmp 1b",
    "port read": "1: in al, 0x10; jmp 1b",
    "device write": f"mov ebx, {DEVICE}; 1: mov [rbx], eax; jmp 1b",
    "device read": f"mov ebx, {DEVICE}; 1: mov eax, [rbx]; jmp 1b",
}
EXITS = 2000
DOORBELLS = 20000


def c_loop(folder: Path) -> Callable[[X86Cpu, int], None] | None:
    """The loop in C, or None without a compiler or the kernel's headers."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = folder / "loop.c", folder / "loop.so"
    source.write_text(C_LOOP)
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    loop = ctypes.CDLL(str(library)).loop

    def run(cpu: X86Cpu, count: int) -> None:
        shared = ctypes.addressof(ctypes.c_char.from_buffer(cpu._run))
        loop(cpu.handle.fd, ctypes.c_void_p(shared), count)

    return run


def bare(cpu: X86Cpu, count: int) -> None:
    """fcntl.ioctl and nothing else."""
    fd, ioctl, request = cpu.handle.fd, fcntl.ioctl, abi.RUN
    for _ in range(count):
        ioctl(fd, request, 0)


def seam(cpu: X86Cpu, count: int) -> None:
    """`Cpu.run`: the exit decoded, the answer of the last one written."""
    run = cpu.run
    for _ in range(count):
        run()


def timed(call: Callable[[], None], count: int) -> float:
    """Microseconds for each of ``count``."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) / count * 1e6


def exits(ways: dict[str, Callable[[X86Cpu, int], None]], text: str, rounds: int) -> list[float]:
    """The median cost of an exit for each of ``ways``."""
    results: dict[str, list[float]] = {name: [] for name in ways}
    with guest_machine() as guest:
        cpu = guest.long(text)
        for _ in range(50):
            cpu.run()
        for _ in range(rounds):
            for name, way in ways.items():
                results[name].append(timed(partial(way, cpu, EXITS), EXITS))
    return [statistics.median(results[name]) for name in ways]


def doorbell(rounds: int) -> float:
    """The cost of a write to a doorbell: the guest runs on, and an eventfd counts."""
    costs = []
    for _ in range(rounds):
        with guest_machine() as guest:
            fd = os.eventfd(0)
            guest.machine.add_doorbell(Doorbell(DEVICE, 4), fd)
            cpu = guest.long(
                f"mov ebx, {DEVICE}; mov ecx, {DOORBELLS}; out 0x10, al;"
                "1: mov [rbx], eax; dec ecx; jnz 1b; out 0x10, al"
            )
            cpu.run()
            costs.append(timed(partial(seam, cpu, 1), DOORBELLS))
            if os.eventfd_read(fd) != DOORBELLS:
                raise BimetalError("doorbells were lost")
            os.close(fd)
    return statistics.median(costs)


@click.command()
@click.option("--rounds", default=9, show_default=True, help="Turns of each way.")
def main(rounds: int) -> None:
    """Show the cost of exits in microseconds."""
    if KVM_MISSING:
        raise click.ClickException(KVM_MISSING)
    with tempfile.TemporaryDirectory() as folder:
        loop = c_loop(Path(folder))
        ways = {"C": loop} if loop else {}
        ways |= {"fcntl.ioctl": bare, "Cpu.run": seam}
        click.echo(f"{'microseconds an exit':24}" + "".join(f"{name:>14}" for name in ways))
        for name, text in GUESTS.items():
            costs = exits(ways, text, rounds)
            click.echo(f"{name:24}" + "".join(f"{cost:14.2f}" for cost in costs))
    click.echo(f"{'doorbell (no exit)':24}{doorbell(rounds):14.2f}")


if __name__ == "__main__":
    main()
