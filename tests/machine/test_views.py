"""Programs that look into a machine: registers, memory, devices."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bimetal.accel.script import ScriptCpu
from bimetal.base.errors import BimetalError
from bimetal.devices.serial.ns16550a import Ns16550a
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.machine.cpu_view import CpuView
from bimetal.machine.machine import Machine
from bimetal.memory.space import BadAddress
from bimetal.seam import Exit, Mmio
from tests.machine.conftest import LIMIT, Script

UART, RAM = 0x1000_0000, 0x8000_0000
END = RAM + (64 << 20)


def busy(cpu: ScriptCpu) -> Exit:
    """A guest that never stops to read the serial port."""
    cpu.repeat()
    return Mmio(UART + 7, 1)


@pytest.fixture
def vm(script: Script) -> Machine:
    machine = script([busy], [busy], bios="none").machine
    machine.start()
    return machine


@pytest.fixture
def cpu(vm: Machine) -> CpuView:
    return vm.cpus[0]


# CPUs


def test_registers_are_attributes_and_items(vm: Machine, cpu: CpuView) -> None:
    assert vm.cpus[1]["a0"] == 1
    assert cpu.pc == RAM
    cpu["a1"] = 5
    assert cpu.a1 == 5
    cpu.pc = RAM + 4
    assert vm.cpus[0]["pc"] == RAM + 4
    assert "pc" in cpu
    assert list(cpu) == list(cpu.registers)


def test_a_register_that_is_not_there_names_those_that_are_near(cpu: CpuView) -> None:
    message = "CPU 0 has no register 'pcc': did you mean pc?"
    with pytest.raises(KeyError, match=r"did you mean pc\?"):
        cpu["pcc"]
    with pytest.raises(AttributeError) as caught:
        _ = cpu.pcc
    assert str(caught.value) == message
    with pytest.raises(KeyError, match="registers have names, and no 5"):
        cpu[5]  # type: ignore[index]
    with pytest.raises(AttributeError, match=r"CPU 0 has no register 'eflags'$"):
        _ = cpu.eflags


def test_what_is_no_register_is_not_set_in_silence(kernel: Any) -> None:
    with Machine(kernel=kernel, kernel_format="raw", accel="interp") as vm:
        cpu = vm.cpus[0]
        with pytest.raises(AttributeError, match=r"did you mean pc\?"):
            cpu.pcc = 1
        with pytest.raises(KeyError, match=r"did you mean pc\?"):
            cpu["pcc"] = 1
        with pytest.raises(AttributeError, match="index of a CPU cannot be set"):
            cpu.index = 1  # type: ignore[misc]
        with pytest.raises(OverflowError):
            cpu.a0 = 1 << 64
        with pytest.raises(TypeError):
            cpu.a0 = "1"  # type: ignore[assignment]
        with pytest.raises(AttributeError):
            _ = cpu._no_register


def test_registers_are_those_of_the_manual(kernel: Any) -> None:
    with Machine(kernel=kernel, kernel_format="raw", accel="interp") as vm:
        cpu = vm.cpus[0]
        assert {"mip", "sstatus", "fcsr", "mhartid"} <= set(cpu.registers)
        assert not {"mip_soft", "fp_ready", "hartid", "firmware_calls"} & set(cpu.registers)
        cpu.sstatus = 3 << 13
        assert cpu.mstatus == cpu.sstatus | 2 << 34
        cpu.fcsr = 0x21
        assert (cpu.frm, cpu.fflags) == (1, 1)
        cpu.pc = 0x8000_0003
        assert cpu.pc == 0x8000_0002
        with pytest.raises(ValueError, match="time is read-only"):
            cpu.time = 0
        with pytest.raises(ValueError, match="means nothing"):
            cpu.priv = 2
        with pytest.raises(AttributeError, match="has no register 'fp_ready'"):
            cpu.fp_ready = 1


def test_completion_knows_the_registers(cpu: CpuView) -> None:
    assert {"pc", "a0", "index", "registers"} <= set(dir(cpu))
    assert cpu._ipython_key_completions_() == list(cpu.registers)


def test_a_cpu_shows_where_it_is(vm: Machine) -> None:
    assert repr(vm.cpus[1]) == "<CPU 1: pc 0x80000000>"
    assert repr(vm.cpus) == "(<CPU 0: pc 0x80000000>, <CPU 1: pc 0x80000000>)"


# Memory


def test_memory_is_written_and_cpus_forget(script: Script) -> None:
    board = script([busy])
    vm = board.machine
    vm.start()
    before = board.cpus[0].flushes
    vm.memory.write(RAM + 0x1000, b"data")
    assert vm.memory.read(RAM + 0x1000, 4) == b"data"
    assert board.cpus[0].flushes > before


def test_slices_of_memory(vm: Machine) -> None:
    memory = vm.memory
    memory[RAM : RAM + 4] = b"data"
    assert memory[RAM : RAM + 4] == b"data"
    assert memory[RAM + 1] == ord("a")
    memory[RAM + 1] = 0xFF
    assert memory[RAM : RAM + 3] == b"d\xfft"
    assert memory[END - 2 : END] == b"\0\0"
    assert memory[RAM:RAM] == b""
    memory[RAM : RAM + 4] = memoryview(bytearray(8)).cast("I")[:1]
    assert memory.read(RAM, 4) == b"\0\0\0\0"
    memory[0x1000:0x1004] = b"\x13\0\0\0"  # the reset ROM, which guests cannot write
    assert memory[0x1000] == 0x13


@pytest.mark.parametrize(
    ("start", "stop"), [(0x0, 0x10), (RAM - 1, RAM + 1), (END - 1, END + 1), (UART, UART + 8)]
)
def test_holes_in_memory_are_named(vm: Machine, start: int, stop: int) -> None:
    for error in BadAddress, IndexError:
        with pytest.raises(error, match=r"there is memory at .*0x80000000-0x83ffffff \(ram\)"):
            vm.memory[start:stop]
    before = vm.memory[RAM : RAM + 16], vm.memory[END - 16 : END]
    with pytest.raises(BadAddress):
        vm.memory[start:stop] = b"x" * (stop - start)
    assert before == (vm.memory[RAM : RAM + 16], vm.memory[END - 16 : END])


@pytest.mark.parametrize(
    ("where", "error", "why"),
    [
        (-1, IndexError, "begin at 0"),
        (slice(-16, -8), IndexError, "begin at 0"),
        (slice(RAM, None), ValueError, "give both ends"),
        (slice(None, RAM), ValueError, "give both ends"),
        (slice(None), ValueError, "give both ends"),
        (slice(RAM, RAM + 8, 2), ValueError, "in one piece"),
        (slice(RAM + 8, RAM), ValueError, "before it begins"),
        ("ram", TypeError, "str"),
        (1.5, TypeError, "float"),
        (1 << 70, BadAddress, "no memory there"),
    ],
)
def test_addresses_that_are_none(vm: Machine, where: Any, error: type, why: str) -> None:
    with pytest.raises(error, match=why):
        vm.memory[where]
    with pytest.raises(error, match=why):
        vm.memory[where] = 1 if not isinstance(where, slice) else b""


def test_values_that_do_not_fit(vm: Machine) -> None:
    for data in b"", b"abc", b"abcde":
        with pytest.raises(ValueError, match="into a slice of 4"):
            vm.memory[RAM : RAM + 4] = data
    for value in -1, 256:
        with pytest.raises(ValueError, match="bytes must be in range"):
            vm.memory[RAM] = value
    for wrong in "text", 5:
        with pytest.raises(TypeError):
            vm.memory[RAM : RAM + 4] = wrong  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        vm.memory[RAM] = b"x"  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="-1 bytes cannot be read"):
        vm.memory.read(RAM, -1)


def test_memory_is_no_sequence(vm: Machine) -> None:
    with pytest.raises(TypeError):
        iter(vm.memory)
    assert repr(vm.memory).startswith("<memory: 0x1000-0xffff (rom), ")


# Devices


def test_devices_by_name(vm: Machine) -> None:
    assert vm["uart@10000000"].LSR == 0x60
    assert vm["uart@10000000"].LSR.TEMT == 1
    with pytest.raises(
        KeyError, match="no device 'uart', only test@100000, clint@2000000"
    ) as caught:
        vm["uart"]
    assert "did you mean uart@10000000?" in str(caught.value)
    assert "uart@10000000" in vm
    assert "uart" not in vm
    assert list(vm) == list(vm.devices) == vm._ipython_key_completions_()
    assert len(vm.devices) == len(list(vm))
    assert repr(vm.devices["uart@10000000"]) == "<Ns16550a uart@10000000>"
    assert repr(vm.devices).startswith("<devices: test@100000, clint@2000000")
    assert 5 not in vm
    with pytest.raises(KeyError, match="devices have names, and no 5"):
        vm[5]  # type: ignore[index]


def test_devices_by_class(vm: Machine) -> None:
    uart = vm.device(Ns16550a)
    assert isinstance(uart, Ns16550a)
    assert (uart.name, uart.LSR.TEMT) == ("uart@10000000", 1)
    assert vm.device(VirtioMmio, "virtio_mmio@10002000").MAGIC_VALUE == 0x7472_6976
    with pytest.raises(KeyError, match="several devices are a VirtioMmio: name one of"):
        vm.device(VirtioMmio)
    with pytest.raises(KeyError, match=r"no device is a VirtioMmio called uart, of test@100000"):
        vm.device(VirtioMmio, "uart")
    with pytest.raises(KeyError, match="no device is a ScriptCpu"):
        vm.device(ScriptCpu)
    assert vm.device("uart@10000000").LSR == uart.LSR


def test_what_a_virtio_slot_carries(vm: Machine) -> None:
    entropy = vm.device(VirtioRng)
    assert entropy.status == 0
    assert repr(entropy).startswith("<VirtioRng in virtio_mmio@")


def test_registers_of_a_device_are_set_and_completed(vm: Machine) -> None:
    uart = vm["uart@10000000"]
    assert {"LSR", "IER", "irq", "read", "name"} <= set(dir(uart))
    uart.SCR = 0x5A
    assert uart.read(7, 1) == 0x5A
    uart.write(7, 1, 0x33)
    assert uart.SCR == 0x33
    assert repr(uart.irq) == "<output irq, low>"
    with pytest.raises(AttributeError, match="uart@10000000> has no 'LSC': did you mean"):
        _ = uart.LSC
    with pytest.raises(AttributeError, match="has no 'LSC'"):
        uart.LSC = 1


def test_copies_are_given_away(vm: Machine) -> None:
    plic = vm["plic@c000000"]
    plic.PRIORITY.clear()
    plic.values.clear()
    assert plic.PRIORITY
    assert vm["uart@10000000"].values


def test_devices_are_used_under_the_lock_of_the_machine(vm: Machine) -> None:
    done: list[object] = []

    def use() -> None:
        uart = vm["uart@10000000"]
        uart.SCR = 1
        done.append(uart.LSR)
        done.append(uart.read(7, 1))

    with vm.console.lock:
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert done == []
    thread.join(LIMIT)
    assert done == [0x60, 1]


# The end


def test_a_closed_machine_is_not_looked_into(script: Script) -> None:
    vm = script([busy]).machine
    vm.start()
    cpu, memory, uart = vm.cpus[0], vm.memory, vm["uart@10000000"]
    vm.close()
    for look in (
        lambda: cpu.pc,
        lambda: memory[RAM : RAM + 4],
        lambda: memory.write(RAM, b"x"),
        lambda: uart.LSR,
        lambda: vm.cpus,
        lambda: vm.memory,
        lambda: vm["uart@10000000"],
        vm.stats,
    ):
        with pytest.raises(BimetalError, match="the machine is closed"):
            look()
    assert repr(cpu) == "<CPU 0 of a closed machine>"
    assert repr(memory) == "<memory of a closed machine>"
    assert repr(uart) == "<Ns16550a uart@10000000>"
