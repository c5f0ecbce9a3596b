"""Instructions that the kernel's emulator does not know, in supervisor code: the reference executes
them, and what they leave is what the host's processor leaves in user code."""

from __future__ import annotations

import errno

import pytest

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm import x86_fallback
from bimetal.accel.kvm.x86_cpuid import supported
from bimetal.accel.kvm.x86_unknown import Noting, UnknownState
from bimetal.accel.reference.cpu import ReferenceCpu
from bimetal.base.errors import BimetalError
from bimetal.seam import CpuFault, DebugRequest, DebugStop, Mmio
from tests.accel.kvm.assembler import assemble
from tests.accel.kvm.guest import CODE, DEVICE, STUB_PORT, GuestMachine, mmio, ports
from tests.accel.kvm.quirks import QUIRKS
from tests.isa.x86_machine import X86Machine
from tests.sketches.sketched import sketched

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


def test_what_it_was_asked_for_is_dropped_when_another_state_is_loaded(guest: GuestMachine) -> None:
    """Nor does it execute the rest, which stores to memory."""
    cpu = guest.long(f"mov ebx, {DEVICE}; paddd xmm0, [rbx]; movdqu [0x100000], xmm0; out 0x10, al")
    begin = cpu.save()
    assert isinstance(cpu.run(), Mmio)
    cpu.load(begin)
    assert cpu.read_register("rip") == CODE
    assert guest.read(0x10_0000, 16) == bytes(16)
    exit = cpu.run()
    assert isinstance(exit, Mmio)
    assert exit.address == DEVICE


def test_an_nmi_that_comes_meanwhile_is_not_lost(guest: GuestMachine) -> None:
    """While a device is asked, another CPU's local APIC may send one."""
    cpu = guest.long(f"mov ebx, {DEVICE}; paddd xmm0, [rbx]; mov al, 1; out 0x10, al")
    exit = cpu.run()
    assert isinstance(exit, Mmio)
    cpu.handle.ioctl(x86.NMI)
    while isinstance(exit, Mmio):
        exit = cpu.run()
    assert ports(exit) == (STUB_PORT, 1, 2)


STEPS = "pushfq; or dword ptr [rsp], 0x100; popfq"
STEPPED = f"{STEPS}; paddd xmm0, xmm1; nop; nop"


def test_who_steps_itself_stops_behind_each_instruction(guest: GuestMachine) -> None:
    """Intel's manual, volume 3, 18.3.1.4: also behind one that the reference executes."""
    begin = guest.long(STEPPED).read_register("rip")
    guest.handler(1, "mov rax, [rsp]; mov rbx, dr6; out 0x10, eax; hlt")
    behind = begin + len(assemble(STEPPED, 64)) - 2
    cpu = guest.long(STEPPED, index=1)
    cpu.write_register("dr6", 0xFFFF_0FF0)
    assert ports(cpu.run()) == (0x10, 4, behind)
    assert cpu.read_register("rbx") == 0xFFFF_4FF0


def test_a_debugger_stops_behind_it(guest: GuestMachine) -> None:
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help")
    cpu = guest.long(f"mov ebx, {DEVICE}; paddd xmm0, xmm1; movd xmm2, [rbx]; nop")
    cpu.set_debug(DebugRequest(step=True))
    stops: list[tuple[int, str]] = []
    while len(stops) < 4:
        exit = cpu.run()
        if isinstance(exit, DebugStop):
            stops.append((exit.pc - CODE, exit.reason))
    assert stops == [(5, "step"), (9, "step"), (13, "step"), (14, "step")]


def test_what_it_stores_is_in_the_log_of_written_pages(guest: GuestMachine) -> None:
    store = "cvtdq2ps xmm1, xmm0; movdqu [0x103000], xmm1; fld1; fistp qword ptr [0x105ffc]"
    cpu = guest.long(f"fld1; fnop; {store}; out 0x10, al")
    guest.machine.log_dirty(True)
    assert ports(cpu.run())[0] == 0x10
    bitmap = int.from_bytes(guest.machine.take_dirty()[0], "little")
    assert [page for page in range(0x100, 0x108) if bitmap >> page & 1] == [0x103, 0x105, 0x106]
    assert not int.from_bytes(guest.machine.take_dirty()[0], "little") >> 0x100


PKRU = 1 << 9


def place_of_rights(guest: GuestMachine) -> int:
    """Where XSAVE has the rights of protection keys (CPUID 0DH.9)."""
    leaves = supported(guest.machine.device)
    at = sum(leaf.ebx for leaf in leaves if (leaf.function, leaf.index) == (0xD, 9))
    if not at:
        pytest.skip("the processor has no protection keys")
    return at


def test_state_that_the_reference_does_not_know_stays(guest: GuestMachine) -> None:
    """Here the rights of protection keys, in XCR0's bit 9."""
    at = place_of_rights(guest)
    cpu = guest.long("paddd xmm0, xmm1; out 0x10, al")
    cpu.write_register("cr4", cpu.read_register("cr4") | 1 << 18)
    cpu.write_register("xcr0", 7 | PKRU)
    cpu.write_register("xmm0", 5)
    cpu.write_register("xmm1", 6)
    area = cpu.handle.read(x86.GET_XSAVE, x86.XSAVE_SIZE)
    area[512:520] = (3 | PKRU).to_bytes(8, "little")
    area[at : at + 4] = (0x5555_5554).to_bytes(4, "little")
    cpu.handle.ioctl(x86.SET_XSAVE, area)
    assert ports(cpu.run())[0] == 0x10
    area = cpu.handle.read(x86.GET_XSAVE, x86.XSAVE_SIZE)
    assert int.from_bytes(area[at : at + 4], "little") == 0x5555_5554
    assert (area[513] & 2, cpu.read_register("xmm0")) == (2, 11)


def test_what_vex_makes_zero_is_so_in_state_that_the_reference_does_not_know() -> None:
    """Volume 1, 14.1.2: the upper halves of ZMM registers. XSAVE has them where CPUID tells."""
    area = bytearray(b"\xa5" * x86.XSAVE_SIZE)
    area[512:520] = (0xE7).to_bytes(8, "little")
    xcrs = bytearray(x86.XCRS_SIZE)
    xcrs[16:24] = (0xE7).to_bytes(8, "little")
    unknown = UnknownState({"xcrs": bytes(xcrs), "xsave": bytes(area)}, 0x480)
    hidden = unknown.hidden({"xcrs": bytes(xcrs)})
    assert (hidden["xcrs"][16], hidden["xsave"][512]) == (7, 7)
    known = bytearray(x86.XSAVE_SIZE)
    known[512] = 3
    given = unknown.area(bytes(known), [1, 15])
    assert given[512] == 0xE3
    for number in range(16):
        half = given[0x480 + 32 * number : 0x4A0 + 32 * number]
        assert half == (bytes(32) if number in (1, 15) else b"\xa5" * 32), number
    assert given[:512] + given[576:832] == bytes(512 + 256)
    assert given[832:0x480] + given[0x680:] == b"\xa5" * (x86.XSAVE_SIZE - 832 - 512)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("vpaddd xmm1, xmm2, xmm3", {1}),
        ("vpaddd ymm9, ymm2, ymm3", {9}),
        ("vzeroupper", set(range(16))),
        ("paddd xmm1, xmm2", set()),
        ("andn eax, ebx, ecx", set()),
    ],
)
def test_it_is_noted_what_vex_makes_zero(text: str, written: set[int]) -> None:
    with sketched("x86_64", "reference") as made:
        machine = X86Machine(made.engine, made.cpu, made.ram)
        machine.place(bytes(assemble(text, 64)), 64, cr4=0x4_0600, xcr0=7)
        assert isinstance(made.cpu, ReferenceCpu)
        noting = Noting.watch(made.cpu.core)
        made.cpu.core.step()
        assert noting.upper == written


def test_instructions_that_are_about_all_state_are_refused_with_what_to_do(
    guest: GuestMachine,
) -> None:
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help")
    assert place_of_rights(guest)
    cpu = guest.long("mov eax, 7; xor edx, edx; xsave [0x100000]; out 0x10, al")
    cpu.write_register("cr4", cpu.read_register("cr4") | 1 << 18)
    cpu.write_register("xcr0", 7 | PKRU)
    exit = cpu.run()
    assert isinstance(exit, CpuFault)
    assert "XCR0 0x207" in exit.message
    assert "--cpu max" in exit.details


def test_a_triple_fault_is_told(guest: GuestMachine) -> None:
    """Of a fault that cannot be delivered: there are no interrupt gates."""
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help")
    cpu = guest.long("xor eax, eax; not rax; shr rax, 1; paddd xmm0, [rax]; out 0x10, al")
    cpu.write_register("idtr.limit", 0)
    exit = cpu.run()
    assert isinstance(exit, CpuFault)
    assert exit.message == "the guest took a triple fault"


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (BimetalError("a debug exception is to come", "try again"), "a debug exception is to come"),
        (OSError(errno.EINVAL, "Invalid argument"), "does not take its results: Invalid argument"),
    ],
)
def test_results_that_kvm_cannot_hold_are_told(
    guest: GuestMachine, monkeypatch: pytest.MonkeyPatch, refusal: Exception, says: str
) -> None:
    if "vector code" not in QUIRKS:
        pytest.skip("this KVM needs no help")

    def refuse(*_: object, **__: object) -> None:
        raise refusal

    cpu = guest.long("paddd xmm0, [0x100000]; out 0x10, al")
    monkeypatch.setattr(x86_fallback, "to_kernel", refuse)
    exit = cpu.run()
    assert isinstance(exit, CpuFault)
    assert exit.message.startswith("KVM cannot go on behind an instruction")
    assert says in exit.message
    assert "try again" in exit.details or "--accel jit" in exit.details


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
