"""What every CPU and accelerator of the seam does, told once for all of them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from concurrent.futures import Future
from importlib import import_module
from itertools import pairwise
from threading import Thread

import pytest

from bimetal.seam import (
    Cpu,
    Debuggable,
    DebugRequest,
    DebugStop,
    DirtyLog,
    Doorbell,
    Doorbells,
    Exit,
    Halt,
    Kicked,
    MemorySlot,
    Mmio,
    Pio,
    Watchpoint,
)
from tests.accel.kvm.quirks import KVM_MISSING
from tests.accel.seam.bed import Bed, Board
from tests.accel.seam.guests import (
    In,
    Load,
    Nop,
    Out,
    Program,
    Put,
    Spin,
    SpinWhileZero,
    Store,
    Wait,
)
from tests.accel.seam.riscv import native, reference
from tests.accel.seam.script import ScriptBed

LIMIT = 60
"""Seconds after which a CPU that does not come back is a failure."""

KVM_BEDS = {
    "x86_64": "tests.accel.seam.x86:KvmX86Bed",
    "riscv64": "tests.accel.seam.riscv_kvm:KvmRiscvBed",
    "aarch64": "tests.accel.seam.arm_kvm:KvmArmBed",
}
"""The bed of KVM for each kind of host; its assembler may not exist on others."""


def beds() -> list[Bed]:
    """All beds that there are for this kind of host."""
    found: list[Bed] = [native("jit"), native("interp"), reference(), ScriptBed()]
    if place := KVM_BEDS.get(platform.machine()):
        module, _, name = place.partition(":")
        found.insert(0, getattr(import_module(module), name)())
    return found


@pytest.fixture(params=beds(), ids=lambda bed: bed.name)
def bed(request: pytest.FixtureRequest) -> Bed:
    bed: Bed = request.param
    if bed.name.startswith("kvm") and KVM_MISSING:
        pytest.skip(KVM_MISSING)
    return bed


@pytest.fixture
def board(bed: Bed) -> Iterator[Board]:
    with bed.board(cpus=2) as board:
        yield board


def needs(bed: Bed, feature: str) -> None:
    """Skip, by name and with the reason, what the bed does not have."""
    if feature in bed.missing:
        pytest.skip(f"{feature}: {bed.missing[feature]}")


def mmio(exit: Exit) -> tuple[int, int, bool, int]:
    """An `Mmio` as address, size, write, value."""
    assert isinstance(exit, Mmio), exit
    return exit.address, exit.size, exit.write, exit.value


def pio(exit: Exit) -> tuple[int, int, bool, int]:
    """A `Pio` as port, size, write, value."""
    assert isinstance(exit, Pio), exit
    return exit.port, exit.size, exit.write, exit.value


def answer(exit: Exit, value: int) -> None:
    """Give a read its answer."""
    assert isinstance(exit, Mmio | Pio), exit
    assert not exit.write
    exit.value = value


def running(cpu: Cpu) -> Future[Exit]:
    """Let ``cpu`` run in a thread that ends with the process if the CPU never comes back."""
    future: Future[Exit] = Future()

    def run() -> None:
        try:
            future.set_result(cpu.run())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


# Accesses


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_store_to_no_memory_comes_out(board: Board, size: int) -> None:
    value = 0x8877_6655_4433_2211 & (1 << 8 * size) - 1
    cpu = board.cpu(Program(Store(board.bed.device + 0x18, value, size), Spin()))
    assert mmio(cpu.run()) == (board.bed.device + 0x18, size, True, value)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_load_from_no_memory_takes_the_answer(board: Board, size: int) -> None:
    value = 0xFEDC_BA98_7654_3210 & (1 << 8 * size) - 1
    device, place = board.bed.device, board.bed.free()
    cpu = board.cpu(Program(Load(device, size), Put(place, 8), Store(device, 1), Spin()))
    exit = cpu.run()
    assert mmio(exit)[:3] == (device, size, False)
    answer(exit, value)
    assert mmio(cpu.run()) == (device, 4, True, 1)
    assert board.read(place, 8) == value.to_bytes(8, "little")


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_port_is_read_and_written(board: Board, size: int) -> None:
    needs(board.bed, "ports")
    value = 0x8765_4321 & (1 << 8 * size) - 1
    place = board.bed.free()
    cpu = board.cpu(Program(Out(0x3F8, value, size), In(0x1CE, size), Put(place), Out(0x80, 1)))
    assert pio(cpu.run()) == (0x3F8, size, True, value)
    exit = cpu.run()
    assert pio(exit)[:3] == (0x1CE, size, False)
    answer(exit, value)
    assert pio(cpu.run()) == (0x80, 1, True, 1)
    assert board.read(place, 4) == value.to_bytes(4, "little")


# Memory


def test_guest_and_host_share_memory(board: Board) -> None:
    here, there, device = board.bed.free(0), board.bed.free(1), board.bed.device
    cpu = board.cpu(Program(Load(here, 8), Put(there, 8), Store(device, 1), Spin()))
    board.write(here, b"bimetal!")
    assert mmio(cpu.run())[0] == device
    assert board.read(there, 8) == b"bimetal!"


def test_a_read_only_slot_is_read_directly_and_its_stores_come_out(board: Board) -> None:
    rom = MemorySlot(
        board.bed.device, 4096, board.ram.host + board.bed.free() - board.bed.ram, True
    )
    place, device = board.bed.free(1), board.bed.device
    program = Program(Load(device, 4), Put(place, 4), Store(device + 4, 7), Store(device + 8, 8))
    cpu = board.cpu(program)
    board.accelerator.set_memory([*board.slots, rom])
    board.write(board.bed.free(), b"rom!")
    assert mmio(cpu.run()) == (device + 4, 4, True, 7)
    assert mmio(cpu.run()) == (device + 8, 4, True, 8)
    assert board.read(place, 4) == b"rom!"
    assert board.read(board.bed.free(), 12) == b"rom!".ljust(12, b"\0")


def test_slots_change_between_runs(board: Board) -> None:
    device = board.bed.device
    window = MemorySlot(device, 4096, board.ram.host + board.bed.free() - board.bed.ram)
    stores = [Store(device, number) for number in (1, 2, 3)]
    cpu = board.cpu(Program(*stores, Store(device + 0x1000, 4), Spin()))
    assert mmio(cpu.run()) == (device, 4, True, 1)
    board.accelerator.set_memory([*board.slots, window])
    assert mmio(cpu.run()) == (device + 0x1000, 4, True, 4)
    assert board.read(board.bed.free(), 4) == b"\3\0\0\0"


def test_slots_that_go_away_come_out_again(board: Board) -> None:
    device = board.bed.device
    window = MemorySlot(device, 4096, board.ram.host + board.bed.free() - board.bed.ram)
    board.accelerator.set_memory([*board.slots, window])
    first = (Store(device, 1), Store(device + 0x1000, 2))
    cpu = board.cpu(Program(*first, Store(device, 3), Spin()))
    assert mmio(cpu.run())[:1] == (device + 0x1000,)
    board.accelerator.set_memory(board.slots)
    assert mmio(cpu.run()) == (device, 4, True, 3)


# Halts and interrupts


def test_a_halt_comes_out_and_lasts(board: Board) -> None:
    needs(board.bed, "halts")
    needs(board.bed, "lasting halts")
    cpu = board.cpu(Program(Wait(), Spin(), handler=(Store(board.bed.device, 1),)))
    assert isinstance(cpu.run(), Halt)
    assert isinstance(cpu.run(), Halt)


def test_a_line_ends_a_halt(board: Board) -> None:
    needs(board.bed, "interrupts")
    needs(board.bed, "halts")
    device = board.bed.device
    program = Program(Wait(), Store(device, 2), Spin(), handler=(Store(device, 1),))
    cpu = board.cpu(program)
    assert isinstance(cpu.run(), Halt)
    cpu.set_line(board.bed.line, True)
    assert mmio(cpu.run())[3] == 1
    cpu.set_line(board.bed.line, False)
    assert mmio(cpu.run())[3] == 2


def test_a_line_interrupts_a_loop(board: Board) -> None:
    needs(board.bed, "interrupts")
    device = board.bed.device
    cpu = board.cpu(Program(Store(device, 2), Spin(), handler=(Store(device, 1),)))
    assert mmio(cpu.run())[3] == 2
    exit = running(cpu)
    cpu.set_line(board.bed.line, True)
    assert mmio(exit.result(LIMIT))[3] == 1


def test_a_line_that_falls_in_time_does_not_interrupt(board: Board) -> None:
    device = board.bed.device
    steps = (Store(device, 1), Store(device, 2), Spin())
    cpu = board.cpu(Program(*steps, handler=(Store(device, 9),)))
    cpu.set_line(board.bed.line, True)
    cpu.set_line(board.bed.line, False)
    assert [mmio(cpu.run())[3] for _ in range(2)] == [1, 2]


def test_a_line_waits_until_interrupts_are_on(board: Board) -> None:
    device = board.bed.device
    cpu = board.cpu(Program(Store(device, 1), Store(device, 2), Spin()))
    cpu.set_line(board.bed.line, True)
    assert [mmio(cpu.run())[3] for _ in range(2)] == [1, 2]


# Kicks


def test_a_kick_before_a_run_ends_it_at_once(board: Board) -> None:
    cpu = board.cpu(Program(Store(board.bed.device, 1), Spin()))
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    assert mmio(cpu.run())[3] == 1


def test_a_kick_ends_an_endless_loop(board: Board) -> None:
    needs(board.bed, "threads")
    cpu = board.cpu(Program(Spin()))
    for _ in range(20):
        exit = running(cpu)
        cpu.kick()
        assert isinstance(exit.result(LIMIT), Kicked)
    assert cpu.read_register(board.bed.pc) == board.bed.entry(0)


def test_many_kicks_are_one(board: Board) -> None:
    cpu = board.cpu(Program(Store(board.bed.device, 1), Spin()))
    for _ in range(5):
        cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    assert mmio(cpu.run())[3] == 1


def test_a_kick_loses_no_access(board: Board) -> None:
    device, place = board.bed.device, board.bed.free()
    cpu = board.cpu(Program(Load(device, 4), Put(place, 4), Store(device, 5), Spin()))
    answer(cpu.run(), 0x1234_5678)
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    assert mmio(cpu.run())[3] == 5
    assert board.read(place, 4) == b"\x78\x56\x34\x12"


# Several CPUs


def test_cpus_run_at_the_same_time(board: Board) -> None:
    """Each waits for the other's word in memory: neither gets far if the other stands still."""
    needs(board.bed, "threads")
    needs(board.bed, "second cpu")
    device = board.bed.device
    ping, pong = board.bed.free(0), board.bed.free(1)
    first = Program(Store(ping, 1, 1), SpinWhileZero(pong), Store(device, 1), Spin())
    second = Program(SpinWhileZero(ping), Store(pong, 1, 1), Store(device, 2), Spin())
    cpus = [board.cpu(first, 0), board.cpu(second, 1)]
    exits = [running(cpu) for cpu in cpus]
    assert [mmio(exit.result(LIMIT))[3] for exit in exits] == [1, 2]


# Debug


def debuggable(board: Board, program: Program) -> tuple[Cpu, Debuggable]:
    cpu = board.cpu(program)
    if not isinstance(cpu, Debuggable):
        pytest.skip("this CPU does not stop for a debugger")
    return cpu, cpu


def stop(exit: Exit) -> tuple[str, int]:
    """A `DebugStop` as reason and pc."""
    assert isinstance(exit, DebugStop), exit
    return exit.reason, exit.pc


def test_single_steps(board: Board) -> None:
    needs(board.bed, "single steps")
    cpu, debug = debuggable(board, Program(Nop(), Nop(), Nop(), Spin()))
    debug.set_debug(DebugRequest(step=True))
    stops = [stop(cpu.run()) for _ in range(3)]
    assert [reason for reason, _ in stops] == ["step"] * 3
    pcs = [board.bed.entry(0)] + [pc for _, pc in stops]
    assert len({after - before for before, after in pairwise(pcs)}) == 1


def test_a_breakpoint(board: Board) -> None:
    device = board.bed.device
    cpu, debug = debuggable(board, Program(Nop(), Store(device, 1), Spin()))
    needs(board.bed, "breakpoints")
    debug.set_debug(DebugRequest(step=True))
    _, after_nop = stop(cpu.run())
    cpu.write_register(board.bed.pc, board.bed.entry(0))
    debug.set_debug(DebugRequest(breakpoints=frozenset({after_nop})))
    assert stop(cpu.run()) == ("breakpoint", after_nop)
    debug.set_debug(DebugRequest())
    assert mmio(cpu.run())[3] == 1


def test_a_watchpoint(board: Board) -> None:
    place, device = board.bed.free(), board.bed.device
    cpu, debug = debuggable(board, Program(Store(place, 1), Store(device, 1), Spin()))
    needs(board.bed, "watchpoints")
    debug.set_debug(DebugRequest(watchpoints=frozenset({Watchpoint(place, 4)})))
    assert stop(cpu.run())[0] == "watchpoint"
    assert board.read(place, 1) == b"\1"
    assert mmio(cpu.run())[3] == 1


# Registers and state


def test_registers_have_names(board: Board) -> None:
    needs(board.bed, "registers")
    cpu = board.cpu(Program(Spin()))
    assert {board.bed.pc, board.bed.scratch} <= set(cpu.register_names)
    assert len(set(cpu.register_names)) == len(cpu.register_names)
    assert cpu.read_register(board.bed.pc) == board.bed.entry(0)
    assert all(cpu.read_register(name) >= 0 for name in cpu.register_names)


def test_a_register_keeps_what_is_written(board: Board) -> None:
    needs(board.bed, "registers")
    cpu = board.cpu(Program(Spin()))
    for value in (0, 1, (1 << 64) - 1):
        cpu.write_register(board.bed.scratch, value)
        assert cpu.read_register(board.bed.scratch) == value
    with pytest.raises(OverflowError):
        cpu.write_register(board.bed.scratch, 1 << 64)
    for access in (lambda: cpu.read_register("nothing"), lambda: cpu.write_register("nothing", 0)):
        with pytest.raises(KeyError):
            access()


def test_reset_forgets(board: Board) -> None:
    needs(board.bed, "reset")
    cpu = board.accelerator.add_cpu(0)
    fresh = cpu.read_register(board.bed.pc)
    board.bed.prepare(board, cpu, Program(Store(board.bed.device, 1), Spin()))
    cpu.write_register(board.bed.scratch, 5)
    cpu.run()
    cpu.reset()
    assert cpu.read_register(board.bed.pc) == fresh
    assert cpu.read_register(board.bed.scratch) == 0


def test_a_saved_state_continues_where_it_was(board: Board) -> None:
    device = board.bed.device
    cpu = board.cpu(Program(*(Store(device, number) for number in (1, 2, 3)), Spin()))
    assert mmio(cpu.run())[3] == 1
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    state = cpu.save()
    assert [mmio(cpu.run())[3] for _ in range(2)] == [2, 3]
    cpu.load(state)
    assert [mmio(cpu.run())[3] for _ in range(2)] == [2, 3]


def test_a_saved_halt_is_a_halt(board: Board) -> None:
    needs(board.bed, "halts")
    needs(board.bed, "lasting halts")
    device = board.bed.device
    cpu = board.cpu(Program(Wait(), Spin(), handler=(Store(device, 1),)))
    assert isinstance(cpu.run(), Halt)
    state = cpu.save()
    cpu.reset()
    cpu.load(state)
    assert isinstance(cpu.run(), Halt)
    cpu.set_line(board.bed.line, True)
    assert mmio(cpu.run())[3] == 1


# Optional abilities


def test_a_doorbell_rings_without_an_exit(board: Board) -> None:
    device = board.bed.device
    cpu = board.cpu(Program(Store(device, 5), Store(device, 6), Store(device + 4, 7), Spin()))
    if not isinstance(board.accelerator, Doorbells):
        pytest.skip("this accelerator has no doorbells")
    doorbell, fd = Doorbell(device, 4, value=5), os.eventfd(0)
    board.accelerator.add_doorbell(doorbell, fd)
    with pytest.raises(ValueError, match="rings already"):
        board.accelerator.add_doorbell(doorbell, fd)
    assert mmio(cpu.run()) == (device, 4, True, 6)
    assert os.eventfd_read(fd) == 1
    board.accelerator.remove_doorbell(doorbell, fd)
    os.close(fd)
    cpu.write_register(board.bed.pc, board.bed.entry(0))
    assert mmio(cpu.run()) == (device, 4, True, 5)


def test_written_pages_are_logged(board: Board) -> None:
    device, place = board.bed.device, board.bed.free(3)
    steps = (Store(place, 1), Store(device, 1), Store(place, 2), Store(device, 2), Spin())
    cpu = board.cpu(Program(*steps))
    accelerator = board.accelerator
    if not isinstance(accelerator, DirtyLog):
        pytest.skip("this accelerator does not log written pages")
    page = (place - board.bed.ram) // 4096

    def written() -> bool:
        return bool(accelerator.take_dirty()[board.bed.ram][page // 8] >> page % 8 & 1)

    accelerator.log_dirty(True)
    assert mmio(cpu.run())[3] == 1
    assert written()
    assert not written()
    assert mmio(cpu.run())[3] == 2
    assert written()
    accelerator.log_dirty(False)
    with pytest.raises(RuntimeError):
        accelerator.take_dirty()
