"""What a model lacks is an illegal instruction, and no device tree speaks of it."""

from __future__ import annotations

import pytest

from bimetal.accel.choose import described
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Halt, MemorySlot
from tests.agree.engines import engine

BASE, HANDLER = 0x8000_0000, 0x8000_0800
FS_DIRTY = 3 << 13

ONE_EACH = {
    "zba": "sh1add a0, a1, a2",
    "zbb": "andn a0, a1, a2",
    "zbc": "clmul a0, a1, a2",
    "zbs": "bset a0, a1, a2",
    "zbkb": "pack a0, a1, a2",
    "zbkx": "xperm4 a0, a1, a2",
    "zicond": "czero.eqz a0, a1, a2",
    "zfh": "fadd.h fa0, fa1, fa2",
}
ILLEGAL = [
    "csrrs t0, mcause, zero",
    "addi t0, t0, -2",  # an illegal instruction
    f"bne t0, zero, {HANDLER + 32:#x}",
    "or s1, s1, s0",
    "csrrs t0, mepc, zero",
    "addi t0, t0, 4",
    "csrrw zero, mepc, t0",
    "mret",
    "wfi",
]
"""Leaves the bit in s0 in s1, and goes on behind the instruction."""

MODELS = {
    "": set[str](),
    "rv64": set[str](),
    "rv64,-zba": {"zba"},
    "rv64,-zbb": {"zbb", "zbkb"},
    "rv64,-zbkb,+zbb": {"zbkb"},
    "rv64, -zfh, -zicond,-zbc": {"zfh", "zicond", "zbc"},
    "rv64,-zbs,-zbkx": {"zbs", "zbkx"},
}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *(("interp", model) for model in MODELS),
        ("reference", "rv64,-zbb"),
        ("everything", "rv64,-zbb"),
    ],
)
def test_what_is_taken_away_is_illegal(name: str, model: str) -> None:
    assert set(ONE_EACH) == set(rv64.features)
    lines = [
        line
        for n, text in enumerate(ONE_EACH.values())
        for line in (f"addi s0, zero, {1 << n}", text)
    ]
    with engine(name, firmware_calls=False, model=model) as accelerator:
        ram = Ram("ram", 4096)
        accelerator.set_memory([MemorySlot(BASE, ram.size, ram.host)])
        for start, program in ((BASE, [*lines, "wfi"]), (HANDLER, ILLEGAL)):
            for n, line in enumerate(program):
                at = start + 4 * n
                ram.bytes[at - BASE : at - BASE + 4] = rv64.assemble(line, at)
        cpu = accelerator.add_cpu(0)
        for register, value in (("pc", BASE), ("mtvec", HANDLER), ("mstatus", FS_DIRTY)):
            cpu.write_register(register, value)
        assert isinstance(cpu.run(), Halt)
        found = cpu.read_register("s1")
    ram.close()
    assert {each for n, each in enumerate(ONE_EACH) if found >> n & 1} == MODELS[model]


@pytest.mark.parametrize("model", MODELS)
def test_device_trees_speak_of_what_is_there(model: str) -> None:
    extensions = described("interp", "riscv64", model).extensions
    assert {each for each in ONE_EACH if each not in extensions} == MODELS[model]
    assert {"i", "m", "a", "f", "d", "c", "zicsr"} <= set(extensions)
