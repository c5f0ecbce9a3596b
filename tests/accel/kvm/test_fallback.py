"""Instructions that the kernel's emulator does not know, in supervisor code: the reference executes
them, and what they leave is what the host's processor leaves in user code."""

from __future__ import annotations

import pytest

from bimetal.seam import CpuFault, Mmio
from tests.accel.kvm.guest import DEVICE, GuestMachine, mmio, ports
from tests.accel.kvm.quirks import QUIRKS

PROGRAMS = {
    "popcnt": "popcnt rbx, rax; popcnt cx, bx",
    "crc32": "crc32 rax, rbx; crc32 ecx, bl",
    "bmi": "andn rbx, rax, rcx; pdep rsi, rax, rbx; mulx rcx, rdi, rax",
    "adx": "adcx rax, rbx; adox rcx, rax",
    "cmpxchg16b": "mov edi, 0x100000; xor eax, eax; xor edx, edx; lock cmpxchg16b [rdi]",
    "sse": "addps xmm1, xmm2; mulsd xmm3, xmm1; pshufb xmm4, xmm1; sqrtps xmm5, xmm4",
    "moves": "movd eax, xmm3; movq rbx, xmm4; pextrd ecx, xmm5, 1; movss xmm6, xmm1",
    "x87": "fld1; fldpi; faddp; fld st(0); fsqrt; fistp qword ptr [0x100000]; fstp qword ptr "
    "[0x100008]; fnstsw ax",
    "control": "stmxcsr [0x100000]; and dword ptr [0x100000], 0xffbf; ldmxcsr [0x100000]",
}
REGISTERS = (
    *("rax", "rbx", "rcx", "rsi", "rdi", "mxcsr", "fcw", "fsw"),
    *(f"xmm{number}" for number in range(8)),
)
ARITHMETIC = 0x8D5


def start(guest: GuestMachine, text: str, index: int, user: bool) -> dict[str, int]:
    """The registers that a program leaves, and what it has written."""
    cpu = guest.long(f"{text}; out 0x10, al", index=index, user=user)
    for number, name in enumerate(("rax", "rbx", "rcx", "rsi", "rdi")):
        cpu.write_register(name, 0x1234_5678_9ABC_DEF1 * (number + 1) & (1 << 64) - 1)
    for number in range(8):
        cpu.write_register(f"xmm{number}", 0x3F8F_5C29_4048_F5C3_4000_0001_4111_1111 + number)
    guest.write(0x10_0000, bytes(16))
    assert ports(cpu.run())[0] == 0x10
    found = {name: cpu.read_register(name) for name in REGISTERS}
    found["flags"] = cpu.read_register("rflags") & ARITHMETIC
    found["memory"] = int.from_bytes(guest.read(0x10_0000, 16), "little")
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_supervisor_code_leaves_what_user_code_leaves(guest: GuestMachine, name: str) -> None:
    assert start(guest, PROGRAMS[name], 0, False) == start(guest, PROGRAMS[name], 1, True)


def test_devices_are_asked(guest: GuestMachine) -> None:
    """Of SSE arithmetic with an operand in a device every KVM's emulator knows nothing."""
    cpu = guest.long(f"mov ebx, {DEVICE}; paddd xmm0, [rbx]; movdqu [0x100000], xmm0; out 0x10, al")
    cpu.write_register("xmm0", 0x0000_0001_0000_0002_0000_0003_0000_0004)
    exits = 0
    while isinstance(exit := cpu.run(), Mmio):
        assert not exit.write
        exit.value = (exit.address - DEVICE + 1) * 0x10
        exits += 1
    assert ports(exit)[0] == 0x10
    words = [int.from_bytes(guest.read(0x10_0000 + at, 4), "little") for at in range(0, 16, 4)]
    assert exits
    assert words[0] == 4 + 0x10
    assert cpu.by_reference == 1


def test_a_saved_cpu_has_completed_it(guest: GuestMachine) -> None:
    cpu = guest.long(f"mov ebx, {DEVICE}; movd xmm0, [rbx]; paddd xmm0, xmm0; movd [rbx], xmm0")
    exit = cpu.run()
    assert isinstance(exit, Mmio)
    exit.value = 21
    cpu.load(cpu.save())
    assert mmio(cpu.run()) == (DEVICE, 4, 42)


STEPS = "pushfq; or dword ptr [rsp], 0x100; popfq"


def test_who_steps_itself_is_not_helped(guest: GuestMachine) -> None:
    """The trap behind the instruction would be lost."""
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help")
    exit = guest.long(f"{STEPS}; paddd xmm0, xmm1; out 0x10, al").run()
    assert isinstance(exit, CpuFault)


def test_a_triple_fault_is_told(guest: GuestMachine) -> None:
    """Of a fault that cannot be delivered: there are no interrupt gates."""
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help")
    cpu = guest.long("xor eax, eax; not rax; shr rax, 1; paddd xmm0, [rax]; out 0x10, al")
    cpu.write_register("idtr.limit", 0)
    exit = cpu.run()
    assert isinstance(exit, CpuFault)
    assert exit.message == "the guest took a triple fault"


def test_faults_are_delivered(guest: GuestMachine) -> None:
    """An unmasked division by zero of SSE: the stub of #XM tells its vector."""
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help for it, and QEMU's processor raises no #XM")
    cpu = guest.long("movdqa xmm1, [0x100000]; ldmxcsr [0x100020]; divps xmm1, xmm2; nop")
    guest.write(0x10_0000, b"\0\0\x80\x3f" * 4)
    guest.write(0x10_0020, (0x1F80 & ~(1 << 9)).to_bytes(4, "little"))
    cpu.write_register("xmm2", 0)
    cpu.write_register("cr4", 0x620)
    assert ports(cpu.run())[2] == 19
