"""A state that is saved when the board has answered, and before the CPU has gone on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import VirtualClock
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Exit, FirmwareCall, MemorySlot, Mmio, Semihosting

RAM, SIZE = 0x8000_0000, 0x2000
SUPERVISOR = 1
DEVICE, LAST = 0x100, 0
CALL = ("slli zero, zero, 31", "ebreak", "srai zero, zero, 7")

Make = Callable[..., tuple[Cpu, Cpu]]


@pytest.fixture(params=[InterpAccelerator, JitAccelerator, Reference], ids=lambda e: e.name)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes two CPUs, the first one at the first of the instructions given. Behind these, a0 goes
    to a device; what handles a trap puts its cause there."""
    engine: Callable[..., Accelerator] = request.param
    accelerator = engine("riscv64", clock=VirtualClock(), firmware_calls=True, cpus=2)
    ram = Ram("ram", SIZE)
    accelerator.set_memory([MemorySlot(RAM, SIZE, ram.host)])

    def put(at: int, *lines: str) -> None:
        code = b"".join(rv64.assemble(line) for line in lines)
        ram.bytes[at : at + len(code)] = code

    def make(*lines: str) -> tuple[Cpu, Cpu]:
        put(0, *lines, f"sd a0, {LAST}(zero)")
        put(0x1000, "csrrs a0, scause, zero", f"sd a0, {LAST}(zero)")
        cpu, other = accelerator.add_cpu(0), accelerator.add_cpu(1)
        start = {"pc": RAM, "priv": SUPERVISOR, "stvec": RAM + 0x1000, "a0": 0x18, "a1": 1}
        for name, value in start.items():
            cpu.write_register(name, value)
        return cpu, other

    yield make
    accelerator.close()
    ram.close()


def moved(cpu: Cpu, to: Cpu) -> list[int]:
    """The values that CPU and another one that takes its state store at the end, and their pcs."""
    to.load(cpu.save())
    found = []
    for one in (cpu, to):
        exit_ = one.run()
        assert isinstance(exit_, Mmio)
        assert exit_.write
        assert exit_.address == LAST
        found += [exit_.value, one.read_register("pc")]
    return found


def asked(cpu: Cpu, kind: type[Exit]) -> Exit:
    exit_ = cpu.run()
    assert isinstance(exit_, kind)
    return exit_


def test_a_value_that_was_read(make: Make) -> None:
    cpu, other = make(f"ld a0, {DEVICE}(zero)")
    exit_ = asked(cpu, Mmio)
    assert isinstance(exit_, Mmio)
    exit_.value = 0x1234_5678_9ABC_DEF0
    assert moved(cpu, other) == 2 * [0x1234_5678_9ABC_DEF0, RAM + 4]


def test_the_second_of_two_that_one_instruction_reads(make: Make) -> None:
    cpu, other = make("lhu a0, 0x7ff(t0)")
    cpu.write_register("t0", 0x1800)  # over the end of a page, so a byte at a time
    for byte in (0x34, 0x12):
        exit_ = asked(cpu, Mmio)
        assert isinstance(exit_, Mmio)
        exit_.value = byte
    assert moved(cpu, other) == 2 * [0x1234, RAM + 4]


def test_a_write_that_was_done(make: Make) -> None:
    cpu, other = make(f"sd a1, {DEVICE}(zero)")
    assert isinstance(asked(cpu, Mmio), Mmio)
    assert moved(cpu, other) == 2 * [0x18, RAM + 4]


def test_that_nothing_is_there(make: Make) -> None:
    cpu, other = make(f"ld a0, {DEVICE}(zero)")
    exit_ = asked(cpu, Mmio)
    assert isinstance(exit_, Mmio)
    exit_.fault = True
    assert moved(cpu, other) == 2 * [5, RAM + 0x1004]


def test_results_of_firmware(make: Make) -> None:
    cpu, other = make("ecall", "sub a0, a0, a1")
    exit_ = asked(cpu, FirmwareCall)
    assert isinstance(exit_, FirmwareCall)
    exit_.results = (50, 8)
    assert moved(cpu, other) == 2 * [42, RAM + 8]


def test_the_result_of_semihosting(make: Make) -> None:
    cpu, other = make(*CALL)
    exit_ = asked(cpu, Semihosting)
    assert isinstance(exit_, Semihosting)
    exit_.result = 7
    assert moved(cpu, other) == 2 * [7, RAM + 12]


def test_a_refusal_of_semihosting(make: Make) -> None:
    cpu, other = make(*CALL)
    exit_ = asked(cpu, Semihosting)
    assert isinstance(exit_, Semihosting)
    exit_.refused = True
    assert moved(cpu, other) == 2 * [3, RAM + 0x1004]


def test_that_semihosting_has_no_answer_yet(make: Make) -> None:
    cpu, other = make(*CALL)
    exit_ = asked(cpu, Semihosting)
    assert isinstance(exit_, Semihosting)
    exit_.again = True
    other.load(cpu.save())
    for one in (cpu, other):
        again = asked(one, Semihosting)
        assert isinstance(again, Semihosting)
        again.result = 9
        last = asked(one, Mmio)
        assert isinstance(last, Mmio)
        assert last.value == 9


def test_registers_read_and_written_after_a_firmware_call(make: Make) -> None:
    """They have its results, which do not come over what is written afterwards."""
    cpu, _ = make("ecall")
    exit_ = asked(cpu, FirmwareCall)
    assert isinstance(exit_, FirmwareCall)
    exit_.results = (50, 8)
    assert [cpu.read_register(name) for name in ("a0", "a1")] == [50, 8]
    cpu.write_register("a0", 3)
    last = asked(cpu, Mmio)
    assert isinstance(last, Mmio)
    assert last.value == 3


def test_a_state_from_before_there_were_some_of_the_registers(make: Make) -> None:
    cpu, other = make("addi a0, a0, 1")
    state = cpu.save()
    registers = state["registers"]
    assert isinstance(registers, dict)
    for name in ("imsic", "miselect", "siselect"):
        del registers[name]
    other.write_register("siselect", 0x70)
    other.load(state)
    assert other.read_register("siselect") == 0
    assert other.read_register("a0") == cpu.read_register("a0")
    del registers["x"]
    with pytest.raises(ValueError, match="other registers"):
        other.load(state)


def test_an_x86_state_from_before_tasks_were_noted() -> None:
    accelerator = Reference("x86_64", clock=VirtualClock())
    cpu = accelerator.add_cpu(0)
    state = cpu.save()
    registers = state["registers"]
    assert isinstance(registers, dict)
    for name in ("task_entered", "code_base"):
        del registers[name]
    cpu.write_register("rbx", 7)
    cpu.load(state)
    assert cpu.read_register("rbx") == 0
    accelerator.close()


@pytest.mark.parametrize("engine", [InterpAccelerator, JitAccelerator, Reference])
def test_an_aarch64_state_from_before_cntfrq_could_be_written(
    engine: Callable[..., Accelerator],
) -> None:
    accelerator = engine("aarch64", clock=VirtualClock())
    cpu = accelerator.add_cpu(0)
    state = cpu.save()
    registers = state["registers"]
    assert isinstance(registers, dict)
    del registers["cntfrq"]
    cpu.write_register("cntfrq_el0", 1)
    cpu.load(state)
    assert cpu.read_register("cntfrq_el0") == 62_500_000  # hw/arm/virt.c: 16 ns a tick
    accelerator.close()
