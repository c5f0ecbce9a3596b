"""Memory slots, the dirty log, coalesced writes and doorbells on a real KVM."""

from __future__ import annotations

import os

import pytest

from bimetal.memory.ram import Ram
from bimetal.seam import Doorbell, MemorySlot, Mmio, Pio
from tests.accel.kvm.guest import CODE, DEVICE, GuestMachine, mmio, ports


def test_two_hundred_slots(guest: GuestMachine) -> None:
    ram = Ram("many", 200 * 4096)
    many = [MemorySlot(DEVICE + 8192 * n, 4096, ram.host + 4096 * n) for n in range(200)]
    guest.machine.set_memory([*guest.slots, *many])
    assert guest.machine.memory.slots == (*guest.slots, *many)
    last = many[-1].base
    cpu = guest.long(f"mov ebx, {last}; mov byte ptr [rbx], 7; mov byte ptr [rbx+4096], 8")
    assert mmio(cpu.run()) == (last + 4096, 1, 8)
    assert ram.bytes[199 * 4096] == 7
    guest.machine.set_memory(guest.slots)
    cpu.write_register("rip", CODE)
    assert mmio(cpu.run()) == (last, 1, 7)
    ram.close()


@pytest.mark.parametrize(
    ("base", "size", "offset", "why"),
    [
        (0x1000, 4096, 0, "overlap"),
        (DEVICE + 1, 4096, 0, "aligned"),
        (DEVICE, 4097, 0, "aligned"),
        (DEVICE, 4096, 1, "aligned"),
        (DEVICE, 0, 0, "empty"),
    ],
)
def test_slots_that_cannot_be(
    guest: GuestMachine, base: int, size: int, offset: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        guest.machine.set_memory([*guest.slots, MemorySlot(base, size, guest.ram.host + offset)])
    assert guest.machine.memory.slots == tuple(guest.slots)


def test_a_slot_moves_under_a_running_cpu(guest: GuestMachine) -> None:
    ram = Ram("two pages", 8192)
    ram.bytes[0], ram.bytes[4096] = 1, 2
    cpu = guest.long(f"mov ebx, {DEVICE}; 1: mov al, [rbx]; out 0x10, al; jmp 1b")
    for page in (0, 1, 0):
        guest.machine.set_memory([*guest.slots, MemorySlot(DEVICE, 4096, ram.host + 4096 * page)])
        assert ports(cpu.run()) == (0x10, 1, page + 1)
    guest.machine.set_memory(guest.slots)
    assert isinstance(cpu.run(), Mmio)
    ram.close()


def test_writes_of_user_code_are_logged(guest: GuestMachine) -> None:
    cpu = guest.long(
        "1: mov byte ptr [0x100000], 1; mov byte ptr [0x105000], 1; out 0x10, al; jmp 1b",
        user=True,
    )
    guest.machine.log_dirty(True)
    for _ in range(2):
        assert ports(cpu.run())[0] == 0x10
        bitmap = int.from_bytes(guest.machine.take_dirty()[0], "little")
        assert bitmap >> 0x100 & 1
        assert bitmap >> 0x105 & 1
        assert not bitmap >> 0x101 & 1


def test_coalesced_writes_come_in_order_before_the_next_exit(guest: GuestMachine) -> None:
    guest.machine.coalesce(DEVICE, 4096)
    guest.machine.coalesce(0x70, 1, port=True)
    cpu = guest.long(
        f"""
        mov ebx, {DEVICE}
        mov dword ptr [rbx], 1; mov al, 2; out 0x70, al; mov word ptr [rbx+4], 3
        in al, 0x10; out 0x12, al
        """
    )
    assert mmio(cpu.run()) == (DEVICE, 4, 1)
    assert ports(cpu.run()) == (0x70, 1, 2)
    assert mmio(cpu.run()) == (DEVICE + 4, 2, 3)
    exit = cpu.run()
    assert isinstance(exit, Pio)
    assert (exit.port, exit.write) == (0x10, False)
    exit.value = 0x5A
    assert ports(cpu.run()) == (0x12, 1, 0x5A)


def test_doorbells_by_port_and_by_any_value(guest: GuestMachine) -> None:
    by_port, by_any = os.eventfd(0), os.eventfd(0)
    guest.machine.add_doorbell(Doorbell(0x60, 1, 7, port=True), by_port)
    guest.machine.add_doorbell(Doorbell(DEVICE, 4), by_any)
    cpu = guest.long(
        f"""
        mov ebx, {DEVICE}
        mov al, 7; out 0x60, al; mov dword ptr [rbx], 1; mov dword ptr [rbx], 2
        mov al, 8; out 0x60, al
        """
    )
    assert ports(cpu.run()) == (0x60, 1, 8)
    assert os.eventfd_read(by_port) == 1
    assert os.eventfd_read(by_any) == 2
    for fd in (by_port, by_any):
        os.close(fd)
