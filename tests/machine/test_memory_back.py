"""A machine that is closed has given its memory back: at once, not when Python collects cycles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.isa.riscv import rv64
from tests.boot.bare import BASE, END, write_program

MACHINES = 8
MIB = 1 << 20
PAGES = 200
"""Pages of code that the guest executes: decoded, each is nine times as long."""

SCRIPT = """
import gc, json, sys
from bimetal import Machine
from bimetal.codegen.store import CodeStore

# A store that has seen much: what each translator learns of it is the machine's memory too.
keys = CodeStore.keys
MANY = {format(number, "064x") for number in range(30_000)}
CodeStore.keys = lambda store, family: keys(store, family) | MANY

kernel, disk, accel, cpus, count = sys.argv[1:]

def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

def play():
    with Machine(kernel=kernel, bios="none", accel=accel, cpus=int(cpus), memory="128M",
                 background=False) as vm:
        vm.disk(disk)
        vm.start()
        vm.memory.write(0x84000000, b"x" * (32 << 20))
        assert vm.wait(60).code == 0

gc.disable()
for _ in range(3):
    play()
before = [kilobytes("VmRSS"), kilobytes("VmSize")]
for _ in range(int(count)):
    play()
after = [kilobytes("VmRSS"), kilobytes("VmSize")]
print(json.dumps([b - a for a, b in zip(before, after)]))
"""


def long_way(path: Path) -> Path:
    """A program that jumps from page to page, and switches off."""
    code = b""
    for page in range(PAGES):
        here = BASE + 4096 * page
        code += rv64.assemble(f"jal zero, {here + 4096:#x}", here).ljust(4096, b"\0")
    return write_program(path, code, *END)


@pytest.mark.parametrize(("accel", "cpus"), [("interp", 1), ("jit", 1), ("jit", 3)])
def test_closed_machines_take_no_memory(tmp_path: Path, accel: str, cpus: int) -> None:
    kernel, disk = long_way(tmp_path / "kernel"), tmp_path / "disk.img"
    disk.write_bytes(bytes(MIB))
    # glibc reserves 64 MiB of addresses for a thread that found its arenas busy, when it likes.
    arenas = {"MALLOC_ARENA_MAX": "1"}
    words = [str(kernel), str(disk), accel, str(cpus), str(MACHINES)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env={**os.environ, **arenas, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    touched, addresses = (kilobytes / 1024 / MACHINES for kilobytes in json.loads(done.stdout))
    assert touched < 2, f"{touched:.1f} MiB for each machine that has been closed"
    assert addresses < 4, f"{addresses:.1f} MiB of addresses for each of them"
