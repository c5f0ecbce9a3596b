"""Two byte orders as decode modes, on every accelerator, beside QEMU's user emulation."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from bimetal.ir.ops import signed
from bimetal.seam import Mmio
from tests.host import program_path, programs

from .ppc.architecture import architecture
from .ppc.atomics import FETCH
from .ppc.machine import HANDLER, begin, lines
from .ppc.programs import CODE, RESULTS, RESULTS_SIZE, elf, random_program
from .sketched import END, Sketched, machines

ppc = architecture.isa
DATA = RESULTS - 0x1000
machine = machines("ppc64-sketch")
of_two = machines("ppc64-sketch", ("interp", "everything", "optimise"), cpus=2)
SEEDS = {"reference": range(8), "interp": range(8)}


@pytest.mark.parametrize("little", [False, True], ids=["big", "little"])
@programs("qemu-ppc64-static", "qemu-ppc64le-static")
def test_random_programs_end_as_under_qemu(machine: Sketched, little: bool, tmp_path: Path) -> None:
    emulator = program_path("qemu-ppc64le-static" if little else "qemu-ppc64-static")
    for seed in SEEDS.get(machine.engine, range(1)):
        program = random_program(seed)
        file = tmp_path / f"{seed}.elf"
        file.write_bytes(elf(program, little))
        file.chmod(0o755)
        theirs = subprocess.run([emulator, file], capture_output=True, check=True, timeout=60)
        begin(machine, program, little)
        machine.finish()
        assert machine["srr0"] == CODE + len(program) - 12, f"seed {seed}"
        ours = machine.get(DATA, RESULTS + RESULTS_SIZE - DATA)
        assert ours == theirs.stdout, f"seed {seed}"


@pytest.mark.parametrize("little", [False, True], ids=["big", "little"])
@pytest.mark.parametrize("width", [4, 8])
def test_atomic_updates_in_both_byte_orders(machine: Sketched, width: int, little: bool) -> None:
    """A carry goes from the last byte to the first one in memory, or the other way."""
    update_atomically(machine, width, little)


@pytest.mark.parametrize("little", [False, True], ids=["big", "little"])
@pytest.mark.parametrize("width", [4, 8])
def test_atomic_updates_of_shared_memory(of_two: Sketched, width: int, little: bool) -> None:
    update_atomically(of_two, width, little)


def update_atomically(machine: Sketched, width: int, little: bool) -> None:
    order: Literal["little", "big"] = "little" if little else "big"
    letter, mask = {4: "w", 8: "d"}[width], (1 << 8 * width) - 1
    there = 0x0001_02FF & mask
    for number, operation in enumerate(FETCH):
        for operand in (0x01, 0xFEFF_FFFF_FEFF_FF01, 0x8000_0000_8000_0000, 0x7FFF_0000):
            operand &= mask
            begin(machine, lines(f"l{letter}at r3, r6, {number}", *HANDLER), little)
            machine.put(DATA, there.to_bytes(width, order) + bytes(8))
            machine["r4"], machine["r6"] = operand, DATA
            machine.finish()
            assert machine["r3"] == there, operation
            expected = updated(operation, there, operand, 8 * width)
            assert machine.get(DATA, width) == expected.to_bytes(width, order), operation
            assert machine.get(DATA + width, 8) == bytes(8)


def updated(operation: str, old: int, operand: int, width: int) -> int:
    """What the manual has for it (II 4.5.2)."""
    if operation in ("max", "min"):
        pick = max if operation == "max" else min
        return pick((old, operand), key=lambda number: signed(number, width))
    return {
        "add": (old + operand) % (1 << width),
        "xor": old ^ operand,
        "or": old | operand,
        "and": old & operand,
        "umax": max(old, operand),
        "umin": min(old, operand),
        "xchg": operand,
    }[operation]


def test_the_byte_order_changes_on_the_way(machine: Sketched) -> None:
    """The same page holds code of both orders, and a loop goes through both."""
    at, other = CODE, CODE + 0x40
    big = lines(
        "lwz r4, 0(r31)", "add r5, r5, r4", "addi r6, r6, -1",
        "cmpdi cr0, r6, 0", "bc 12, 2, 0x10f20",
        "mtsrr0 r10", "mtsrr1 r11", "rfid", "std r5, 0(r12)", at=at,
    )  # fmt: skip
    back = ("lwz r4, 0(r31)", "add r5, r5, r4", "mtsrr0 r13", "mtsrr1 r14", "rfid")
    begin(machine, b"", False, at)
    machine.put(at, big)
    machine.put(other, lines(*back, at=other, little=True))
    machine.put(DATA, struct.pack(">I", 0x0102_0304))
    values = {
        "r31": DATA,
        "r6": 40,
        "r10": other,
        "r11": 1 << 63 | 1,
        "r13": at,
        "r14": 1 << 63,
    }
    for name, value in (values | {"r12": END, "pc": at}).items():
        machine[name] = value
    stored = machine.run()
    assert isinstance(stored, Mmio)
    assert machine["r5"] == 40 * 0x0102_0304 + 39 * 0x0403_0201
    assert stored.value == int.from_bytes(machine["r5"].to_bytes(8, "big"), "little")


TRAPS = {
    "sc 0": (0xC00, 4, 0),
    "twi 4, r3, 5": (0x700, 0, 1 << 17),
    "stwcx. r3, 0, r4": (0x600, 0, 0),
    "lwarx r3, 0, r4, 0": (0x600, 0, 0),
}


@pytest.mark.parametrize("little", [False, True], ids=["big", "little"])
def test_traps_lead_to_their_handlers(machine: Sketched, little: bool) -> None:
    for text, (vector, behind, status) in TRAPS.items():
        begin(machine, lines(text), little)
        machine["r3"], machine["r4"] = 5, DATA + 2
        machine.finish()
        assert machine["pc"] == vector + 4, text
        assert machine["srr0"] == CODE + behind
        assert machine["srr1"] == 1 << 63 | little | status
        assert machine["dar"] == (DATA + 2 if vector == 0x600 else 0)


def test_an_encoding_of_the_other_order_means_nothing(machine: Sketched) -> None:
    begin(machine, lines("addi r3, r3, 1"), little=True)
    machine["msr"], machine["ile"] = 1 << 63, 0
    machine.put(0x700, lines(*HANDLER))
    machine["pc"] = CODE
    machine.finish()
    assert machine["srr1"] == 1 << 63 | 1 << 19
