"""What an x86 vCPU was doing, as text for the report of a fault."""

from __future__ import annotations

from pkgutil import resolve_name

from msgspec import Struct

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.memory import SlotTable

__all__ = ["Code", "code_at_rip", "describe", "disassemble"]

LONGEST_INSTRUCTION = 15
SHOWN_INSTRUCTIONS = 3
CR0_PE = 1 << 0
EFER_LMA = 1 << 10


class Code(Struct, frozen=True):
    """The bytes at RIP: guest-linear ``address``, ``physical`` if it is mapped, none if there is no
    memory; ``bits`` is the width of the code segment."""

    address: int
    physical: int | None
    data: bytes
    bits: int

    def __str__(self) -> str:
        if self.physical is None:
            return f"code at {self.address:#x}: the address is not mapped"
        if not self.data:
            return f"code at {self.address:#x} (physical {self.physical:#x}): no memory there"
        return disassemble(self.data, self.address, self.bits)


def describe(cpu: Handle, memory: SlotTable) -> str:
    """Registers of ``cpu`` and the instructions at its RIP."""
    regs = cpu.read(x86.GET_REGS, x86.REGS.size)
    sregs = cpu.read(x86.GET_SREGS, x86.SREGS.size)
    lines = []
    names = x86.GENERAL_REGISTERS
    for row in range(0, len(names), 4):
        lines.append(" ".join(f"{n:<6} {x86.REGS.get(regs, n):016x}" for n in names[row : row + 4]))
    controls = ("cr0", "cr2", "cr3", "cr4", "efer")
    lines.append(" ".join(f"{name} {x86.SREGS.get(sregs, name):x}" for name in controls))
    lines.append(" ".join(_segment(sregs, name) for name in ("cs", "ss", "ds", "tr")))
    return "\n".join([*lines, str(code_at_rip(cpu, memory))])


def code_at_rip(cpu: Handle, memory: SlotTable) -> Code:
    """What ``cpu`` executes next."""
    sregs = cpu.read(x86.GET_SREGS, x86.SREGS.size)
    address = x86.REGS.get(cpu.read(x86.GET_REGS, x86.REGS.size), "rip")
    bits = _mode(sregs)
    if bits < 64:
        address = address + x86.SREGS.get(sregs, "cs.base") & 0xFFFF_FFFF
    physical = _translate(cpu, address)
    size = SHOWN_INSTRUCTIONS * LONGEST_INSTRUCTION
    data = b"" if physical is None else memory.peek(physical, size)
    return Code(address, physical, data, bits)


def _segment(sregs: bytearray, name: str) -> str:
    selector = x86.SREGS.get(sregs, f"{name}.selector")
    return f"{name} {selector:04x} (base {x86.SREGS.get(sregs, f'{name}.base'):x})"


def _mode(sregs: bytearray) -> int:
    """The width of the code segment in bits: 16, 32 or 64."""
    if x86.SREGS.get(sregs, "efer") & EFER_LMA and x86.SREGS.get(sregs, "cs.l"):
        return 64
    protected = x86.SREGS.get(sregs, "cr0") & CR0_PE
    return 32 if protected and x86.SREGS.get(sregs, "cs.db") else 16


def _translate(cpu: Handle, address: int) -> int | None:
    """Guest-physical of guest-linear ``address``, or None where nothing is mapped."""
    request = x86.TRANSLATION.new(linear=address)
    cpu.ioctl(x86.TRANSLATE, request)
    if not x86.TRANSLATION.get(request, "valid"):
        return None
    return x86.TRANSLATION.get(request, "physical")


def disassemble(code: bytes, address: int, bits: int) -> str:
    """The first instructions of ``code``, if capstone is installed, else its bytes."""
    plain = f"code at {address:#x} ({bits}-bit): {code[:LONGEST_INSTRUCTION].hex(' ')}"
    try:
        capstone = resolve_name("capstone")
    except ImportError:
        return f"{plain} (install capstone to see instructions)"
    mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
    decoder = capstone.Cs(capstone.CS_ARCH_X86, mode)
    found = list(decoder.disasm_lite(code, address, SHOWN_INSTRUCTIONS))
    if not found:
        return f"{plain} is no instruction"
    return "\n".join(
        [plain]
        + [f"  {where:#x}  {name} {operands}".rstrip() for where, _, name, operands in found]
    )
