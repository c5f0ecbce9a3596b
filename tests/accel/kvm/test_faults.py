"""What goes wrong: in the guest, on the host, in the kernel. Most of it needs no real KVM."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from bimetal.accel.kvm import abi, device
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.abi import Capability, ExitReason
from bimetal.accel.kvm.device import Device, KvmUnavailable
from bimetal.accel.kvm.host import create
from bimetal.accel.kvm.x86 import X86Machine
from bimetal.accel.kvm.x86_cpu import X86Cpu
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.memory.ram import Ram
from bimetal.seam import CpuFault, DebugRequest, Exit, Kicked, MemorySlot, Mmio, Watchpoint
from tests.accel.kvm.fake import FakeKernel, error
from tests.accel.kvm.guest import DEVICE, GuestMachine

# In the guest


def fault(exit: Exit) -> CpuFault:
    assert isinstance(exit, CpuFault), exit
    return exit


def test_a_triple_fault(guest: GuestMachine) -> None:
    cpu = guest.protected("ud2")
    cpu.write_register("idtr.limit", 0)
    found = fault(cpu.run())
    assert found.message == "the guest took a triple fault"
    assert "rip" in found.details


def test_code_where_there_is_no_memory(guest: GuestMachine) -> None:
    cpu = guest.machine.add_cpu(0)
    found = fault(cpu.run())
    assert found.message == "the guest executes at 0xfffffff0, where there is no memory"


def test_an_instruction_that_the_kernel_cannot_emulate(guest: GuestMachine) -> None:
    """A store of SSE4A's to a device: nobody emulates that, and no description of ours has it."""
    cpu = guest.long(f"mov ebx, {DEVICE}; .byte 0xf3, 0x0f, 0x2b, 0x03")
    found = fault(cpu.run())
    assert "emulation failed" in found.message
    assert "movntss dword ptr [rbx], xmm0" in found.details


def test_the_cpu_can_be_reset_after_a_fault(guest: GuestMachine) -> None:
    cpu = guest.protected("ud2")
    cpu.write_register("idtr.limit", 0)
    fault(cpu.run())
    cpu.reset()
    assert cpu.read_register("rip") == 0xFFF0


def test_an_unknown_msr_is_told_and_faults_in_the_guest(guest: GuestMachine) -> None:
    cpu = guest.long("mov ecx, 0x12345; rdmsr", user=False)
    assert getattr(cpu.run(), "value", None) == 13  # the stub of #GP tells its vector
    assert cpu.events.counts == {"guest error: rdmsr 0x12345, which KVM does not have": 1}


# On the host: no device, no permission, limits


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def refused(kernel: FakeKernel, cpus: int = 1) -> KvmUnavailable:
    with pytest.raises(KvmUnavailable) as caught:
        create("x86_64", kernel=kernel, cpus=cpus)
    assert not kernel.open_fds
    return caught.value


def test_no_device(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CONTAINERS", ())
    kernel.open_error = errno.ENOENT
    found = refused(kernel)
    assert found.cause == "there is no /dev/kvm"
    assert "modprobe" in found.remedy or "kernel with KVM" in found.remedy
    assert found.exit_code == ExitCode.UNAVAILABLE


def test_no_device_in_a_container(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CONTAINERS", (__file__,))
    kernel.open_error = errno.ENOENT
    assert refused(kernel).remedy == "start this container with the host's: --device /dev/kvm"


@pytest.mark.parametrize(
    ("mode", "gid", "remedy"),
    [(0o660, os.getgid() or 1, "join group"), (0o600, 0, 'KERNEL=="kvm", GROUP="kvm"')],
)
def test_no_permission_says_which_group_or_rule_is_missing(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, mode: int, gid: int, remedy: str
) -> None:
    status = SimpleNamespace(st_gid=gid, st_mode=stat.S_IFCHR | mode)
    monkeypatch.setattr(device, "os", SimpleNamespace(stat=lambda path: status))
    kernel.open_error = errno.EACCES
    found = refused(kernel)
    assert found.cause == "no permission to open /dev/kvm"
    assert remedy in found.remedy
    assert found.exit_code == ExitCode.NO_PERMISSION


def test_another_file_is_not_kvm(tmp_path: Path) -> None:
    path = tmp_path / "kvm"
    path.touch()
    with pytest.raises(KvmUnavailable, match="is not KVM"):
        Device(path=str(path))


def test_another_version(kernel: FakeKernel) -> None:
    kernel.version = 13
    assert refused(kernel).cause == "/dev/kvm speaks KVM API 13, not 12"


@pytest.mark.parametrize(
    "missing", [Capability.USER_MEMORY, Capability.IMMEDIATE_EXIT, Capability.IRQ_ROUTING]
)
def test_a_missing_capability_is_named(kernel: FakeKernel, missing: Capability) -> None:
    del kernel.capabilities[missing]
    assert f"KVM_CAP_{missing.name}" in refused(kernel).cause


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EBUSY, "other hypervisor"),
        (errno.ENOMEM, "memory"),
        (errno.EMFILE, "ulimit"),
        (errno.ENODEV, "virtualisation in the firmware"),
        (errno.EINVAL, ""),
    ],
)
def test_no_machine(kernel: FakeKernel, number: int, remedy: str) -> None:
    kernel.reactions[abi.CREATE_VM] = repeat(error(number))
    found = refused(kernel)
    assert "refuses to create a machine" in found.cause
    assert remedy in found.remedy


def test_too_many_cpus(kernel: FakeKernel) -> None:
    assert "5 CPUs are more than the 4" in refused(kernel, cpus=5).cause
    machine = create("x86_64", kernel=kernel, cpus=4)
    with pytest.raises(KvmUnavailable, match="CPU 4 is beyond the 4"):
        machine.add_cpu(4)
    machine.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EMFILE, errno.ENOMEM, errno.EEXIST])
def test_no_cpu(kernel: FakeKernel, number: int) -> None:
    kernel.reactions[abi.CREATE_VCPU] = repeat(error(number))
    assert "CPU 0" in refused(kernel).cause


def test_no_room_for_the_shared_area(kernel: FakeKernel) -> None:
    kernel.map_error = errno.ENOMEM
    assert "CPU 0" in refused(kernel).cause


@pytest.mark.parametrize(
    "request_number",
    [x86.SET_IDENTITY_MAP_ADDR, x86.SET_TSS_ADDR, x86.CREATE_IRQCHIP, x86.SET_CPUID2, x86.GET_REGS],
)
def test_nothing_is_left_behind_when_setting_up_fails(
    kernel: FakeKernel, request_number: int
) -> None:
    kernel.reactions[request_number] = repeat(error(errno.EINVAL))
    assert "does not set up a machine: Invalid argument" in refused(kernel).cause


def test_closing_twice_is_closing(kernel: FakeKernel) -> None:
    machine = create("x86_64", kernel=kernel, cpus=2)
    machine.add_cpu(0)
    machine.add_cpu(1)
    assert len(kernel.open_fds) == 4
    machine.close()
    machine.close()
    assert not kernel.open_fds


# Memory


@pytest.fixture
def machine(kernel: FakeKernel) -> Iterator[X86Machine]:
    machine = create("x86_64", kernel=kernel, cpus=2, controller="none")
    assert isinstance(machine, X86Machine)
    yield machine
    machine.close()
    assert not kernel.open_fds


def test_more_slots_than_the_kernel_has(machine: X86Machine) -> None:
    ram = Ram("ram", 9 * 8192)
    slots = [MemorySlot(8192 * n, 4096, ram.host + 8192 * n) for n in range(9)]
    with pytest.raises(KvmUnavailable, match="9 stretches of memory, KVM allows 8"):
        machine.set_memory(slots)
    ram.close()


def test_a_slot_that_the_kernel_refuses(kernel: FakeKernel, machine: X86Machine) -> None:
    ram = Ram("ram", 4096)
    kernel.reactions[abi.SET_USER_MEMORY_REGION] = iter([error(errno.EINVAL)])
    with pytest.raises(KvmUnavailable, match=r"refuses MemorySlot\(base=0"):
        machine.set_memory([MemorySlot(0, 4096, ram.host)])
    machine.set_memory([MemorySlot(0, 4096, ram.host)])
    ram.close()


def test_no_read_only_memory(kernel: FakeKernel) -> None:
    del kernel.capabilities[Capability.READONLY_MEM]
    machine = create("x86_64", kernel=kernel)
    ram = Ram("rom", 4096)
    with pytest.raises(KvmUnavailable, match="no read-only memory"):
        machine.set_memory([MemorySlot(0, 4096, ram.host, readonly=True)])
    machine.close()
    ram.close()


# Running


def storms(kernel: FakeKernel, number: int) -> None:
    """A thousand interruptions, then an access to a device."""
    access = abi.MMIO_EXIT.pack(0xD000_0000, b"\5" + bytes(7), 4, 1)
    kernel.exits = chain(repeat(error(number), 1000), [kernel.exit(ExitReason.MMIO, access)])


@pytest.mark.parametrize("number", [errno.EINTR, errno.EAGAIN])
def test_storms_of_interruptions_are_ridden_out(
    kernel: FakeKernel, machine: X86Machine, number: int
) -> None:
    cpu = machine.add_cpu(0)
    storms(kernel, number)
    exit = cpu.run()
    assert isinstance(exit, Mmio)
    assert (exit.address, exit.value) == (0xD000_0000, 5)
    assert kernel.calls[abi.RUN] == 1001


@pytest.mark.parametrize("number", [errno.EINTR, errno.EAGAIN])
def test_a_kick_gets_through_an_endless_storm(
    kernel: FakeKernel, machine: X86Machine, number: int
) -> None:
    cpu = machine.add_cpu(0)
    calls = iter(range(100))

    def interrupted() -> int:
        if next(calls) == 50:
            cpu.kick()
        return error(number)()

    kernel.exits = repeat(interrupted)
    assert isinstance(cpu.run(), Kicked)


def test_requests_that_signals_interrupt_are_repeated(
    kernel: FakeKernel, machine: X86Machine
) -> None:
    ram = Ram("ram", 4096)
    kernel.reactions[abi.SET_USER_MEMORY_REGION] = iter([error(errno.EINTR)] * 10)
    machine.set_memory([MemorySlot(0, 4096, ram.host)])
    assert kernel.calls[abi.SET_USER_MEMORY_REGION] == 11
    kernel.reactions[abi.SET_USER_MEMORY_REGION] = repeat(error(errno.EINTR))
    with pytest.raises(KvmUnavailable, match="interrupted 1000 times"):
        machine.set_memory([])
    del kernel.reactions[abi.SET_USER_MEMORY_REGION]
    ram.close()


@pytest.mark.parametrize(
    ("reason", "data", "words"),
    [
        (ExitReason.FAIL_ENTRY, abi.FAIL_ENTRY_EXIT.pack(0x80000021, 0), "hardware reason 0x8"),
        (ExitReason.INTERNAL_ERROR, b"\2\0\0\0", "simultaneous exceptions"),
        (ExitReason.INTERNAL_ERROR, b"\x63\0\0\0", "internal error 99"),
        (ExitReason.UNKNOWN, b"", "UNKNOWN"),
        (ExitReason.MEMORY_FAULT, b"", "MEMORY_FAULT"),
        (ExitReason.NOTIFY, b"", "NOTIFY"),
    ],
)
def test_the_kernel_gives_up(
    kernel: FakeKernel, machine: X86Machine, reason: ExitReason, data: bytes, words: str
) -> None:
    cpu = machine.add_cpu(0)
    kernel.exits = iter([kernel.exit(reason, data)])
    found = fault(cpu.run())
    assert words in found.message
    assert "rip" in found.details


def test_an_exit_that_nobody_has_heard_of(kernel: FakeKernel, machine: X86Machine) -> None:
    cpu = machine.add_cpu(0)

    def strange() -> int:
        abi.U32.pack_into(kernel.run, 8, 4711)
        return 0

    kernel.exits = iter([strange])
    assert "4711" in fault(cpu.run()).message


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EFAULT, "memory that is gone"), (errno.EBADF, "does not run the vCPU: Bad file")],
)
def test_run_itself_fails(kernel: FakeKernel, machine: X86Machine, number: int, words: str) -> None:
    cpu = machine.add_cpu(0)
    kernel.exits = iter([error(number)])
    assert words in fault(cpu.run()).message


def test_a_fault_whose_registers_cannot_be_read(kernel: FakeKernel, machine: X86Machine) -> None:
    cpu = machine.add_cpu(0)
    kernel.exits = iter([kernel.exit(ExitReason.SHUTDOWN)])
    kernel.reactions[x86.GET_REGS] = repeat(error(errno.EIO))
    assert "the registers cannot be read" in fault(cpu.run()).details


# Debug registers


def test_more_breakpoints_than_registers(machine: X86Machine) -> None:
    cpu = machine.add_cpu(0)
    assert isinstance(cpu, X86Cpu)
    with pytest.raises(BimetalError, match="x86 has 4 debug registers, 5"):
        cpu.set_debug(DebugRequest(breakpoints=frozenset(range(5))))


@pytest.mark.parametrize(("address", "size"), [(2, 4), (0, 3), (4, 8)])
def test_watchpoints_that_x86_cannot_have(machine: X86Machine, address: int, size: int) -> None:
    cpu = machine.add_cpu(0)
    assert isinstance(cpu, X86Cpu)
    with pytest.raises(BimetalError, match=f"cannot watch {size} bytes at {address:#x}"):
        cpu.set_debug(DebugRequest(watchpoints=frozenset({Watchpoint(address, size)})))
