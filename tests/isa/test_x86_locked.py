"""Locked updates that are not aligned: what they do, and that two vCPUs see them as one (Intel's
manual, volume 3, 9.1.2.2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.base.clock import RealClock
from bimetal.memory.ram import Ram
from bimetal.seam import Exit, MemorySlot, Mmio
from tests.sketches.sketched import SIZE, sketched

from .x86_machine import CODE, DATA, END, X86Machine, assemble

LAPS = 100_000
WIDTHS = {"word": ("ax", "bx"), "dword": ("eax", "ebx"), "qword": ("rax", "rbx")}
UPDATES = (
    "lock add {m}, {b}", "lock sub {m}, {b}", "lock and {m}, {b}", "lock or {m}, {b}",
    "lock xor {m}, {b}", "lock adc {m}, {b}", "lock inc {m}", "lock neg {m}", "lock not {m}",
    "xchg {m}, {b}", "lock xadd {m}, {b}", "lock cmpxchg {m}, {b}", "lock bts {m}, 3",
)  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> Iterator[list[X86Machine]]:
    """Two vCPUs of one machine."""
    accelerator, ram = InterpAccelerator("x86_64", clock=RealClock(), cpus=2), Ram("ram", SIZE)
    accelerator.set_memory([MemorySlot(0, SIZE, ram.host)])
    yield [X86Machine("interp", accelerator.add_cpu(n), ram) for n in range(2)]
    accelerator.close()
    ram.close()


def each_place(machine: X86Machine, text: str, a: str, b: str, size: str) -> list[bytes | int]:
    """What an instruction leaves at all offsets in 32 bytes, for accumulators that are what is
    there and that are not."""
    found: list[bytes | int] = []
    for offset in range(24):
        code = text.format(m=f"{size} ptr [rdi+{offset}]", b=b)
        for accumulator in (0x0123_4567_89AB_CDEF, 0):
            load = f"mov {a}, [rdi+{offset}]" if accumulator == 0 else "nop"
            code_ = assemble(f"{load}\nstc\n{code}\npushfq\npop rdx\nmov [{END}], eax", 64, CODE)
            machine.place(code_, 64, rax=accumulator, rbx=0x8000_0001_8001_7F81, rdi=DATA)
            machine.put(DATA, bytes(range(0x70, 0x90)))
            machine.finish()
            found += [machine.get(DATA, 32), machine["rax"], machine["rbx"], machine["rdx"]]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("text", UPDATES)
def test_they_do_what_they_do_alone(pair: list[X86Machine], text: str, size: str) -> None:
    """The reference, whose vCPUs take turns, does the same by a load and a store."""
    with sketched("x86_64", "reference") as made:
        alone = X86Machine(made.engine, made.cpu, made.ram)
        expected = each_place(alone, text, *WIDTHS[size], size)
    assert each_place(pair[0], text, *WIDTHS[size], size) == expected


def run(machine: X86Machine, ends: list[Exit]) -> None:
    exit = machine.run()
    while not isinstance(exit, Mmio):
        exit = machine.run()
    ends.append(exit)


def together(pair: list[X86Machine], text: str) -> None:
    """Run a loop on both at once. RBX is 0 for the first, 1 for the second."""
    lines = f"mov ecx, {LAPS}\n1: {text}\ndec ecx\njnz 1b\nmov [{END}], eax\n"
    codes = [assemble(lines, 64, CODE + 0x1000 * n) for n in range(2)]
    for n, machine in enumerate(pair):
        machine.place(codes[n], 64, CODE + 0x1000 * n, rbx=n, rdi=DATA)
    for n, code in enumerate(codes):  # `place` clears memory
        pair[n].put(CODE + 0x1000 * n, code)
    ends: list[Exit] = []
    threads = [threading.Thread(target=run, args=(machine, ends)) for machine in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 2


@pytest.mark.slow
@pytest.mark.parametrize("offset", [1, 2, 3, 7, 11])
def test_two_vcpus_count_together(pair: list[X86Machine], offset: int) -> None:
    """And each beside the counter too, in a byte of its own and without LOCK."""
    beside = (offset - 1) & 7
    together(pair, f"lock inc dword ptr [rdi+{offset}]\ninc byte ptr [rdi+rbx*8+{beside}]")
    assert pair[0].word(DATA + offset, 4) == 2 * LAPS
    assert [pair[0].word(DATA + beside + 8 * n, 1) for n in range(2)] == [LAPS & 0xFF] * 2


@pytest.mark.slow
def test_a_lock_at_an_odd_address_keeps_others_out(pair: list[X86Machine]) -> None:
    """What it guards is counted without LOCK."""
    lock = (
        "2: mov eax, 1\nxchg [rdi+5], eax\ntest eax, eax\njz 3f\npause\njmp 2b\n"
        "3: inc dword ptr [rdi+64]\nmov dword ptr [rdi+5], 0"
    )
    together(pair, lock)
    assert pair[0].word(DATA + 64, 4) == 2 * LAPS
