"""KVM on x86: programs in 64-bit mode at the highest privilege, memory mapped one to one."""

from __future__ import annotations

import struct

from bimetal.accel.kvm.host import create
from bimetal.seam import Accelerator, Cpu
from tests.accel.kvm.assembler import assemble
from tests.accel.kvm.quirks import QUIRKS
from tests.accel.seam.bed import Bed, Board, text_of
from tests.accel.seam.guests import (
    In,
    Load,
    Nop,
    Out,
    Program,
    Put,
    Spin,
    SpinWhileZero,
    Step,
    Store,
    Wait,
)

__all__ = ["KvmX86Bed", "enter_long_mode", "write_tables"]

GDT, IDT, PML4, CODE, STACK = 0x500, 0x8000, 0x1000, 0x10000, 0x40000
CODE_SELECTOR, DATA_SELECTOR = 0x08, 0x10
CODE_ATTRIBUTES, DATA_ATTRIBUTES = 0xA09B, 0xC093
PRESENT, WRITABLE, LARGE = 1, 2, 1 << 7
PER_CPU = 0x2000
LINE = 0x20

A = {1: "al", 2: "ax", 4: "eax", 8: "rax"}
C = {1: "cl", 2: "cx", 4: "ecx", 8: "rcx"}


def write_tables(board: Board) -> None:
    """Page tables that map 4 GiB one to one, and a GDT."""
    table = PML4 + 0x1000
    board.write(PML4, struct.pack("<Q", table | PRESENT | WRITABLE))
    for gigabyte in range(4):
        directory = table + 0x1000 * (1 + gigabyte)
        board.write(table + 8 * gigabyte, struct.pack("<Q", directory | PRESENT | WRITABLE))
        pages = range(gigabyte << 30, gigabyte + 1 << 30, 2 << 20)
        entries = (page | PRESENT | WRITABLE | LARGE for page in pages)
        board.write(directory, struct.pack("<512Q", *entries))
    board.write(GDT, struct.pack("<3Q", 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))


def enter_long_mode(cpu: Cpu, rip: int, stack: int) -> None:
    """Set the registers so that ``cpu`` executes 64-bit code at ``rip`` next."""
    registers = {
        "gdtr.base": GDT,
        "gdtr.limit": 0x17,
        "idtr.base": IDT,
        "idtr.limit": 0xFFF,
        "cr3": PML4,
        "cr4": 0x620,
        "cs": CODE_SELECTOR,
        "cs.base": 0,
        "cs.limit": 0xFFFF_FFFF,
        "rip": rip,
        "rsp": stack,
        "rflags": 2,
    }
    for name in ("ds", "es", "ss"):
        registers |= {name: DATA_SELECTOR, f"{name}.base": 0, f"{name}.limit": 0xFFFF_FFFF}
        registers[f"{name}.attributes"] = DATA_ATTRIBUTES
    for name, value in registers.items():
        cpu.write_register(name, value)
    # In this order: paging with EFER.LME is 64-bit mode, and 64-bit code exists only in that.
    cpu.write_register("efer", 0x100)
    cpu.write_register("cr0", 0x8000_0033)
    cpu.write_register("cs.attributes", CODE_ATTRIBUTES)


def _text(step: Step) -> list[str]:
    match step:
        case Store(address, value, size):
            return [f"movabs rbx, {address}", f"movabs rcx, {value}", f"mov [rbx], {C[size]}"]
        case Load(address, size):
            return [f"movabs rbx, {address}", "xor eax, eax", f"mov {A[size]}, [rbx]"]
        case Put(address, size):
            return [f"movabs rbx, {address}", f"mov [rbx], {A[size]}"]
        case Out(port, value, size):
            return [f"mov edx, {port}", f"mov eax, {value}", f"out dx, {A[size]}"]
        case In(port, size):
            return [f"mov edx, {port}", "xor eax, eax", f"in {A[size]}, dx"]
        case Wait():
            return ["hlt"]
        case Nop():
            return ["nop"]
        case Spin():
            return ["1: jmp 1b"]
        case SpinWhileZero(address):
            return [f"movabs rbx, {address}", "1: cmp byte ptr [rbx], 0", "je 1b"]


class KvmX86Bed(Bed):
    """An x86 machine of KVM's without interrupt controllers, so that all exits are seen."""

    name = "kvm-x86"
    ram = 0
    device = 0xD000_0000
    line = LINE
    pc = "rip"
    scratch = "r12"
    missing = QUIRKS

    def accelerator(self, cpus: int) -> Accelerator:
        return create("x86_64", cpus=cpus, controller="none")

    def prepare(self, board: Board, cpu: Cpu, program: Program) -> None:
        write_tables(board)
        start = self.entry(cpu.index)
        enter_long_mode(cpu, start, STACK + PER_CPU * cpu.index)
        board.write(start, assemble("\n".join(text_of(program.steps, _text))))
        if program.handler:
            handler = start + PER_CPU // 2
            board.write(handler, assemble("\n".join([*text_of(program.handler, _text), "iretq"])))
            gate = struct.pack("<HHBBHII", handler & 0xFFFF, 8, 0, 0x8E, handler >> 16, 0, 0)
            board.write(IDT + 16 * LINE, gate)
            cpu.write_register("rflags", 0x202)

    def entry(self, index: int) -> int:
        return CODE + PER_CPU * index
