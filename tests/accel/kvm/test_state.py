"""Registers, floating point, MSRs and everything else that belongs to a saved CPU."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.x86_state import save_state
from bimetal.seam import Mmio
from tests.accel.kvm.guest import DEVICE, GuestMachine, guest_machine, mmio, ports

VECTOR = 0x1122_3344_5566_7788_99AA_BBCC_DDEE_FF00


def test_every_register_takes_its_own_value_back(guest: GuestMachine) -> None:
    cpu = guest.long("1: jmp 1b")
    for name in cpu.register_names:
        value = cpu.read_register(name)
        cpu.write_register(name, value)
        if name != "tsc":
            assert cpu.read_register(name) == value, name


def test_a_register_that_would_make_no_sense_is_refused(guest: GuestMachine) -> None:
    cpu = guest.long("1: jmp 1b")
    with pytest.raises(ValueError, match="KVM refuses cr4 = 0x0"):
        cpu.write_register("cr4", 0)
    with pytest.raises(OverflowError, match=r"cs\.attributes"):
        cpu.write_register("cs.attributes", 1 << 17)
    with pytest.raises(OverflowError):
        cpu.write_register("lstar", 1 << 64)


def test_the_guest_sees_a_vector_register_that_was_set(guest: GuestMachine) -> None:
    cpu = guest.long("movdqu [0x100000], xmm3; out 0x10, al")
    cpu.write_register("xmm3", VECTOR)
    assert ports(cpu.run())[0] == 0x10
    assert int.from_bytes(guest.read(0x10_0000, 16), "little") == VECTOR
    assert cpu.read_register("xmm3") == VECTOR


def test_a_saved_cpu_goes_on_in_another_machine(guest: GuestMachine) -> None:
    text = f"mov ebx, {DEVICE}; mov eax, [rbx]; add eax, 1; mov [rbx], eax; movdqu [rbx], xmm5"
    cpu = guest.long(text)
    cpu.write_register("xmm5", VECTOR)
    cpu.write_register("star", 0x23_0010_0000_0000)
    exit = cpu.run()
    assert isinstance(exit, Mmio)
    exit.value = 41
    state = cpu.save()
    with guest_machine() as other:
        other.write(0, guest.read(0, guest.ram.size))
        copy = other.machine.add_cpu(0)
        copy.load(state)
        assert mmio(copy.run()) == (DEVICE, 4, 42)
        assert copy.read_register("star") == 0x23_0010_0000_0000
        halves = [mmio(copy.run()) for _ in range(2)]
        assert halves[0][2] | halves[1][2] << 64 == VECTOR


def test_a_cpu_that_still_asks_cannot_be_saved(guest: GuestMachine) -> None:
    cpu = guest.real("mov dx, 0x1f0; mov di, 0x2000; mov cx, 3; rep insb; hlt")
    cpu.run()
    with pytest.raises(RuntimeError, match="still asks the board"):
        cpu.save()


def test_reset_gives_the_state_after_reset(guest: GuestMachine) -> None:
    cpu = guest.long("out 0x10, al; 1: jmp 1b")
    cpu.run()
    cpu.reset()
    expected = {"rip": 0xFFF0, "cs": 0xF000, "cs.base": 0xFFFF_0000, "rflags": 2, "efer": 0}
    assert {name: cpu.read_register(name) for name in expected} == expected
    assert cpu.read_register("cr0") & 0x8000_0001 == 0


def test_what_changes_registers_by_being_asked_for_is_asked_for_first() -> None:
    """KVM does then what a waiting start does to CS and RIP, and an exception to DR6 and CR2."""
    kernel = Mock()
    kernel.ioctl.return_value = 0
    save_state(Handle(kernel, 0), [], lapic=True, xsave_size=x86.XSAVE_SIZE)
    asked = [request for _, request, _ in (call.args for call in kernel.ioctl.call_args_list)]
    assert asked[:2] == [abi.GET_MP_STATE, x86.GET_VCPU_EVENTS]
    assert {x86.GET_REGS, x86.GET_SREGS, x86.GET_DEBUGREGS} <= {*asked[2:]}
