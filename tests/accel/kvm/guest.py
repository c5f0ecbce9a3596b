"""Small x86 machines on the host's KVM, with guests assembled at test time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

from bimetal.accel.kvm.host import create
from bimetal.accel.kvm.x86 import X86Machine
from bimetal.accel.kvm.x86_cpu import X86Cpu
from bimetal.memory.ram import Ram
from bimetal.seam import Exit, MemorySlot, Mmio, Pio
from tests.accel.kvm.assembler import assemble

__all__ = [
    "CODE",
    "DEVICE",
    "LIMIT",
    "REAL_CODE",
    "STUB_PORT",
    "USER_FLAGS",
    "GuestMachine",
    "background",
    "guest_machine",
    "ports",
]

RAM_SIZE = 4 << 20
GDT, IDT, TSS, PML4, STUBS, CODE, STACK = 0x500, 0x8000, 0x600, 0x1000, 0x9000, 0x1_0000, 0x4_0000
REAL_CODE = 0x7C00
DEVICE = 0xD000_0000
"""An address without memory, mapped for user code too."""
STUB_SIZE, STUB_PORT = 16, 0xEE
USER_FLAGS = 0x3002
"""RFLAGS with I/O privilege level 3: user code may use ports."""
LIMIT = 60

KERNEL_CODE32, KERNEL_DATA, KERNEL_CODE, USER_DATA, USER_CODE, TASK = (
    0x08,
    0x10,
    0x18,
    0x28,
    0x30,
    0x40,
)
DESCRIPTORS = (
    0,
    0x00CF_9B00_0000_FFFF,
    0x00CF_9300_0000_FFFF,
    0x00AF_9B00_0000_FFFF,
    0,
    0x00CF_F300_0000_FFFF,
    0x00AF_FB00_0000_FFFF,
    0,
    0x0000_8B00_0600_0067,
    0,
)
ALL = 0b111  # present, writable, user
LARGE = 1 << 7

Result = TypeVar("Result")


class GuestMachine:
    """One machine with 4 MiB of RAM at 0, and what its CPUs need to start in any mode."""

    def __init__(self, machine: X86Machine):
        self.machine = machine
        self.ram = Ram("ram", RAM_SIZE)
        self.slots = [MemorySlot(0, RAM_SIZE, self.ram.host)]
        machine.set_memory(self.slots)
        self._tables()

    def write(self, address: int, data: bytes) -> None:
        self.ram.bytes[address : address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.ram.bytes[address : address + size])

    def real(self, text: str, index: int = 0, at: int = REAL_CODE) -> X86Cpu:
        """A CPU about to run 16-bit code."""
        cpu = self._cpu(index)
        self.write(at, assemble(text, 16))
        self._set(cpu, {"cs": 0, "cs.base": 0, "rip": at, "rsp": 0x7000})
        return cpu

    def protected(self, text: str, index: int = 0, at: int = CODE) -> X86Cpu:
        """A CPU about to run 32-bit code without paging."""
        cpu = self._cpu(index)
        self.write(at, assemble(text, 32))
        self._flat(cpu, KERNEL_CODE32, KERNEL_DATA, 0)
        self._set(cpu, {"cr0": 0x33, "cs.attributes": 0xC09B, "rip": at, "rsp": STACK})
        return cpu

    def long(self, text: str, index: int = 0, at: int = CODE, user: bool = False) -> X86Cpu:
        """A CPU about to run 64-bit code, for ``user`` at privilege level 3."""
        cpu = self._cpu(index)
        self.write(at, assemble(text, 64))
        level = 3 if user else 0
        selectors = (USER_CODE | 3, USER_DATA | 3) if user else (KERNEL_CODE, KERNEL_DATA)
        self._flat(cpu, *selectors, level)
        self._set(
            cpu,
            {
                "cr3": PML4,
                "cr4": 0x620,
                "efer": 0x101,
                "cr0": 0x8005_0033,
                "cs.attributes": 0xA09B | level << 5,
                "rip": at,
                "rsp": STACK - 0x1000 * index,
                "rflags": USER_FLAGS if user else 2,
            },
        )
        return cpu

    def handler(self, vector: int, text: str) -> None:
        """64-bit code for an interrupt or exception, in place of the stub."""
        at = STUBS + 0x2000 + 0x100 * vector
        self.write(at, assemble(text, 64))
        self._gate(vector, at)

    def _cpu(self, index: int) -> X86Cpu:
        cpu = self.machine.add_cpu(index)
        assert isinstance(cpu, X86Cpu)
        return cpu

    @staticmethod
    def _set(cpu: X86Cpu, registers: dict[str, int]) -> None:
        for name, value in registers.items():
            cpu.write_register(name, value)

    def _flat(self, cpu: X86Cpu, code: int, data: int, level: int) -> None:
        registers = {
            "gdtr.base": GDT,
            "gdtr.limit": 8 * len(DESCRIPTORS) - 1,
            "idtr.base": IDT,
            "idtr.limit": 0xFFF,
            "rflags": 2,
        }
        for name in ("ds", "es", "fs", "gs", "ss"):
            registers |= {name: data, f"{name}.base": 0, f"{name}.limit": 0xFFFF_FFFF}
            registers[f"{name}.attributes"] = 0xC093 | level << 5
        registers |= {"tr": TASK, "tr.base": TSS, "tr.limit": 0x67, "tr.attributes": 0x8B}
        registers |= {"cs": code, "cs.base": 0, "cs.limit": 0xFFFF_FFFF}
        self._set(cpu, registers)

    def _tables(self) -> None:
        """Descriptors, a task with a stack, page tables that map 4 GiB one to one for everybody,
        and 256 gates to stubs that report their vector at a port."""
        self.write(GDT, struct.pack(f"<{len(DESCRIPTORS)}Q", *DESCRIPTORS))
        self.write(TSS + 4, struct.pack("<Q", STACK + 0x8000))
        self.write(PML4, struct.pack("<Q", PML4 + 0x1000 | ALL))
        for number in range(4):
            directory = PML4 + 0x1000 * (2 + number)
            self.write(PML4 + 0x1000 + 8 * number, struct.pack("<Q", directory | ALL))
            pages = range(number << 30, number + 1 << 30, 2 << 20)
            self.write(directory, struct.pack("<512Q", *(page | ALL | LARGE for page in pages)))
        for vector in range(256):
            stub = STUBS + STUB_SIZE * vector
            # mov al, vector; out STUB_PORT, al; hlt; jmp back to the hlt
            self.write(stub, bytes((0xB0, vector, 0xE6, STUB_PORT, 0xF4, 0xEB, 0xFD)))
            self._gate(vector, stub)

    def _gate(self, vector: int, at: int) -> None:
        low, middle = at & 0xFFFF, at >> 16
        gate = struct.pack("<HHBBHII", low, KERNEL_CODE, 0, 0xEE, middle, 0, 0)
        self.write(IDT + 16 * vector, gate)

    def close(self) -> None:
        self.machine.close()
        self.ram.close()


@contextmanager
def guest_machine(
    cpus: int = 1, controller: str = "none", model: str = "host"
) -> Iterator[GuestMachine]:
    """A machine for one test."""
    machine = create("x86_64", cpus=cpus, controller=controller, model=model)
    assert isinstance(machine, X86Machine)
    guest = GuestMachine(machine)
    try:
        yield guest
    finally:
        guest.close()


def ports(exit: Exit) -> tuple[int, int, int]:
    """A write to a port as port, size and value."""
    assert isinstance(exit, Pio), getattr(exit, "details", exit)
    assert exit.write
    return exit.port, exit.size, exit.value


def mmio(exit: Exit) -> tuple[int, int, int]:
    """A write to a device as address, size and value."""
    assert isinstance(exit, Mmio), getattr(exit, "details", exit)
    assert exit.write
    return exit.address, exit.size, exit.value


def background(call: Callable[[], Result]) -> Future[Result]:
    """``call`` in a thread that does not outlive the process."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
