"""Interrupt controllers in the kernel: messages, eventfds, start-up of further CPUs, split."""

from __future__ import annotations

import os

import pytest

from bimetal.seam import EndOfInterrupt, Kicked
from tests.accel.kvm.assembler import assemble
from tests.accel.kvm.guest import (
    LIMIT,
    STUB_PORT,
    GuestMachine,
    background,
    guest_machine,
    ports,
)

APIC = 0xFEE0_0000
APIC_ON = f"mov ebx, {APIC}; mov dword ptr [rbx+0xf0], 0x1ff"
END_OF_INTERRUPT = f"mov ebx, {APIC}; mov dword ptr [rbx+0xb0], 0"
HALT = f"{APIC_ON}; sti; out 0x11, al; 1: hlt; jmp 1b"
LEVEL = 1 << 15


def test_a_message_wakes_a_halted_cpu(pc: GuestMachine) -> None:
    cpu = pc.long(HALT)
    assert ports(cpu.run())[0] == 0x11
    exit = background(cpu.run)
    pc.machine.send_msi(APIC, 0x41)
    assert ports(exit.result(LIMIT)) == (STUB_PORT, 1, 0x41)


def test_a_kick_wakes_a_halted_cpu(pc: GuestMachine) -> None:
    cpu = pc.long(HALT)
    assert ports(cpu.run())[0] == 0x11
    exit = background(cpu.run)
    cpu.kick()
    assert isinstance(exit.result(LIMIT), Kicked)


def test_an_eventfd_interrupts_without_a_call(pc: GuestMachine) -> None:
    pc.handler(0x51, f"mov al, 0x51; out 0x10, al; {END_OF_INTERRUPT}; iretq")
    cpu = pc.long(HALT)
    gsi = pc.machine.routes.add_message(APIC, 0x51)
    fd = os.eventfd(0)
    pc.machine.bind_irq(gsi, fd)
    assert ports(cpu.run())[0] == 0x11
    for _ in range(2):
        exit = background(cpu.run)
        os.eventfd_write(fd, 1)
        assert ports(exit.result(LIMIT)) == (0x10, 1, 0x51)
    pc.machine.unbind_irq(gsi, fd)
    os.eventfd_write(fd, 1)
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    os.close(fd)
    pc.machine.routes.remove_message(gsi)


def test_a_pin_of_the_io_apic(pc: GuestMachine) -> None:
    """Redirection entry 16: vector 61, edge; the guest writes it through the index window."""
    pc.handler(0x61, f"mov al, 0x61; out 0x10, al; {END_OF_INTERRUPT}; iretq")
    cpu = pc.long(
        f"""
        mov ebx, 0xfec00000
        mov dword ptr [rbx], 0x30; mov dword ptr [rbx+0x10], 0x61
        mov dword ptr [rbx], 0x31; mov dword ptr [rbx+0x10], 0
        {HALT}
        """
    )
    assert ports(cpu.run())[0] == 0x11
    exit = background(cpu.run)
    pc.machine.set_irq(16, True)
    pc.machine.set_irq(16, False)
    assert ports(exit.result(LIMIT)) == (0x10, 1, 0x61)


def test_the_first_cpu_starts_the_second(pc: GuestMachine) -> None:
    """INIT, then a start-up interrupt with vector 70: real mode at 7000:0."""
    start_at = 0x7_0000
    pc.write(start_at, assemble("mov al, 0x77; out 0x10, al; 1: hlt; jmp 1b", 16))
    first = pc.long(
        f"""
        {APIC_ON}
        mov dword ptr [rbx+0x310], 0x01000000
        mov dword ptr [rbx+0x300], 0x00004500
        mov dword ptr [rbx+0x310], 0x01000000
        mov dword ptr [rbx+0x300], 0x00004670
        out 0x11, al
        """
    )
    second = pc.machine.add_cpu(1)
    exit = background(second.run)
    assert ports(first.run())[0] == 0x11
    assert ports(exit.result(LIMIT)) == (0x10, 1, 0x77)
    assert second.read_register("cs") == start_at >> 4


def test_a_cpu_that_was_not_started_can_be_kicked(pc: GuestMachine) -> None:
    pc.machine.add_cpu(0)
    second = pc.machine.add_cpu(1)
    exit = background(second.run)
    second.kick()
    assert isinstance(exit.result(LIMIT), Kicked)
    second.reset()
    exit = background(second.run)
    second.kick()
    assert isinstance(exit.result(LIMIT), Kicked)


def test_lines_belong_to_the_controller(pc: GuestMachine) -> None:
    cpu = pc.long(HALT)
    with pytest.raises(ValueError, match="set_irq"):
        cpu.set_line(0x41, True)
    assert ports(cpu.run())[0] == 0x11
    exit = background(cpu.run)
    cpu.set_line(2, True)
    assert ports(exit.result(LIMIT)) == (STUB_PORT, 1, 2)


def test_a_machine_without_a_controller_has_no_routes(guest: GuestMachine) -> None:
    with pytest.raises(RuntimeError, match="without an interrupt controller"):
        guest.machine.bind_irq(4, 0)
    cpu = guest.machine.add_cpu(0)
    with pytest.raises(ValueError, match="no interrupt line 5"):
        cpu.set_line(5, True)


def test_the_state_of_the_controllers_is_kept(pc: GuestMachine) -> None:
    """An interrupt that waits in the I/O APIC's input survives a save and a load."""
    cpu = pc.long(
        "mov ebx, 0xfec00000; mov dword ptr [rbx], 0x30; mov eax, [rbx+0x10]; out 0x10, al"
    )
    fresh = pc.machine.save()
    program = "mov ebx, 0xfec00000; mov dword ptr [rbx], 0x30; mov dword ptr [rbx+0x10], 0x10061"
    other = pc.long(f"{program}; out 0x11, al", index=1, at=0x2_0000)
    other.load({**other.save(), "mp_state": 0})
    assert ports(other.run())[0] == 0x11
    changed = pc.machine.save()
    assert changed["chips"] != fresh["chips"]
    pc.machine.load(fresh)
    assert ports(cpu.run())[0] == 0x10
    assert cpu.read_register("rax") & 0xFF == 0
    pc.machine.load(changed)
    cpu.write_register("rip", 0x1_0000)
    assert ports(cpu.run()) == (0x10, 1, 0x61)


def test_the_guests_clock_is_kept(pc: GuestMachine) -> None:
    pc.machine.load({"clock": 10**15})
    clock = pc.machine.save()["clock"]
    assert isinstance(clock, int)
    assert 10**15 <= clock < 10**15 + 10**12


def test_a_board_with_its_own_io_apic_hears_the_end_of_interrupts(kvm: None) -> None:
    with guest_machine(controller="split") as pc:
        pc.handler(0x71, f"mov al, 0x71; out 0x10, al; {END_OF_INTERRUPT}; iretq")
        fd = os.eventfd(0)
        pc.machine.routes.add_message(APIC, 0x71 | LEVEL, gsi=5)
        pc.machine.bind_irq(5, fd)
        cpu = pc.long(HALT)
        assert ports(cpu.run())[0] == 0x11
        exit = background(cpu.run)
        os.eventfd_write(fd, 1)
        assert ports(exit.result(LIMIT)) == (0x10, 1, 0x71)
        end = cpu.run()
        assert isinstance(end, EndOfInterrupt), end
        assert end.vector == 0x71
        os.close(fd)
