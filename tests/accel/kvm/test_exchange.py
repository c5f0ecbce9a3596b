"""The state of a vCPU of KVM's as our own vCPUs have it: there and back, and both go on alike.

The oracle is the host's KVM: what it is given it tells again, and a program that KVM began ends as
if it had gone on there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.x86_completing import completed, reference, settled
from bimetal.accel.kvm.x86_cpu import X86Cpu
from bimetal.accel.kvm.x86_exchange import (
    TSC_ADJUST,
    TSC_DEADLINE,
    check_paravirtual,
    from_kernel,
    to_kernel,
)
from bimetal.accel.kvm.x86_handover import _moment
from bimetal.accel.kvm.x86_xsave import area_of, files_of
from bimetal.accel.memory import Memory
from bimetal.accel.reference.core import NeedsBoard
from bimetal.accel.reference.cpu import ReferenceCpu
from bimetal.accel.saved import Saved
from bimetal.base.errors import BimetalError
from bimetal.ir.evaluate import call
from bimetal.isa.x86 import x86 as isa
from bimetal.isa.x86.msrs import read_msr, write_msr
from bimetal.seam import MemorySlot, Mmio, Pio, RegisterAccess
from tests.accel.kvm.guest import DEVICE, GuestMachine, guest_machine
from tests.accel.kvm.quirks import QUIRKS

NOW, WORD = 1 << 40, (1 << 64) - 1
DERIVED = {"code_base", "cpl", "cr8", "decoding", "guard", "vector_checks", "shadow", "told"}
"""What our vCPUs work out themselves, or count from another beginning."""
SEEDS = range(12)
IOPL = 3 << 12


def random_state(seed: int) -> Saved:
    """A vCPU with anything in its registers that 64-bit code can have there."""
    chance = random.Random(seed)
    files = {
        name: [file.admit(chance.getrandbits(file.width) & file.bits) for _ in range(file.count)]
        for name, file in isa.state.saved.items()
    }
    for name in DERIVED | {"shutdown", "pdpte", "acknowledged", "line", "debug_pending"}:
        files[name] = [0] * len(files[name])
    files["r"][16] = files["base"][8] = 0
    files["system_flags"] = [chance.getrandbits(22) & 0x24_7700]
    for number in range(8):
        unusable = chance.random() < 0.2
        rights = chance.getrandbits(16) & 0xF07F | 1 << 7
        files["attributes"][number] = 1 << 16 | rights & 3 << 5 if unusable else rights
    files["attributes"][1] = 0xA09B
    files["efer"], files["xcr0"] = [0xD01], [7]
    files["fsw"] = [chance.getrandbits(16)]
    files["mxcsr_control"] = [chance.getrandbits(16) & 0xFFC0]
    files["nmi_blocked"] = [chance.getrandbits(1)]
    files["cpu_index"] = [0]
    files["dr"][4:6] = [0, 0]
    files["mtrr"][16:48] = [
        value if number in (0, 8, 9, *range(24, 32)) else 0
        for number, value in enumerate(files["mtrr"][16:48])
    ]
    for name in ("debugging", "examined_pc", "examined_at", "debug_shadow", "task_entered"):
        if name in files:
            files[name] = [0]
    return Saved(files, chance.getrandbits(6), 1)


def known(saved: Saved) -> dict[str, list[int]]:
    return {name: values for name, values in saved.registers.items() if name not in DERIVED}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_state_comes_back_as_it_went(seed: int) -> None:
    before = random_state(seed)
    state = to_kernel(before, now=NOW, parked=False)
    after, parked = from_kernel(state, index=0, now=NOW)
    assert known(after) == known(before)
    assert (after.flags, after.waited, parked) == (before.flags, False, False)
    assert state == to_kernel(after, now=NOW, parked=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_area_of_xsave_comes_back_as_it_went(seed: int) -> None:
    before = random_state(seed)
    area = area_of(before.registers, before.flags)
    files, flags = files_of(area)
    assert flags == before.flags
    assert files == {name: before.registers[name] for name in files}


def test_components_that_are_not_in_the_area_are_initial() -> None:
    files, flags = files_of(bytes(x86.XSAVE_SIZE))
    assert (files["fcw"], files["mxcsr_control"], flags) == ([0x37F], [0x1F80], 0)
    assert not any(files["xmm"] + files["ymmh"] + files["mm"] + files["ftw"])


def test_registers_that_only_kvm_has_are_an_error() -> None:
    area = bytearray(x86.XSAVE_SIZE)
    area[512], area[0x440] = 1 << 5, 1
    with pytest.raises(BimetalError, match="AVX-512"):
        files_of(bytes(area))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"exception.pending": 1, "exception.number": 4}, "an exception"),
        ({"exception.injected": 1, "exception.number": 3}, "an exception"),
        ({"smi.smm": 1}, "system-management mode"),
    ],
)
def test_what_is_only_for_a_moment_is_an_error(fields: dict[str, int], says: str) -> None:
    state = to_kernel(random_state(0), now=NOW, parked=False)
    events = bytearray(state["events"])
    for field, value in fields.items():
        x86.EVENTS.put(events, field, value)
    with pytest.raises(BimetalError, match=says) as caught:
        from_kernel({**state, "events": bytes(events)}, index=0, now=NOW)
    assert "save it again" in caught.value.remedy


TRAPPED = (1 << 14, 1 << 15, 0b101, 1 << 14 | 0b10)


@pytest.mark.parametrize("waiting", TRAPPED)
def test_a_debug_exception_that_waits_is_carried_over(waiting: int) -> None:
    """KVM delivers it; what DR6 and DR7 then are is ours to say (SDM volume 3, 18.3)."""
    before = random_state(2)
    before.registers["dr"][6:8] = [0xFFFF_0FF8, 0x2400]
    before.registers["debug_pending"] = [waiting]
    state = to_kernel(before, now=NOW, parked=False)
    events, debug = bytes(state["events"]), bytes(state["debug"])
    assert x86.EVENTS.get(events, "exception.injected") == 1
    assert x86.EVENTS.get(events, "exception.number") == 1
    assert x86.DEBUG_REGS.get(debug, "dr6") == 0xFFFF_0FF0 | waiting
    assert x86.DEBUG_REGS.get(debug, "dr7") == 0x400
    after, _ = from_kernel(state, index=0, now=NOW)
    assert after.registers["debug_pending"] == [waiting]


@pytest.mark.parametrize("name", ["shadow", "debug_shadow"])
def test_shadows_of_sti_and_of_loads_of_ss_are_told_apart(name: str) -> None:
    before = random_state(4)
    before.registers["system_flags"] = [1 << 9]
    before.registers["shadow"] = [1]
    before.registers[name] = [1]
    state = to_kernel(before, now=NOW, parked=False)
    shadow = x86.EVENTS.get(bytes(state["events"]), "interrupt.shadow")
    assert shadow == {"shadow": 2, "debug_shadow": 1}[name]  # KVM_X86_SHADOW_INT_STI, _MOV_SS
    after, _ = from_kernel(state, index=0, now=NOW)
    for each in ("shadow", "debug_shadow"):
        assert after.registers[each] == before.registers[each]


def test_a_debug_exception_behind_the_shadow_of_ss_is_an_error() -> None:
    before = random_state(5)
    before.registers["debug_pending"], before.registers["debug_shadow"] = [1], [1]
    with pytest.raises(BimetalError, match="behind the next instruction"):
        to_kernel(before, now=NOW, parked=False)


def test_paravirtual_features_in_use_are_an_error() -> None:
    with pytest.raises(BimetalError, match="KVM's own clock"):
        check_paravirtual({0x4B56_4D01: 0x1000 | 1})
    check_paravirtual({0x4B56_4D01: 0x1000})


def test_a_cpu_that_waits_to_be_started_or_halts_does_so_there() -> None:
    halted = Saved(random_state(1).registers, 0, 1, waited=True)
    for saved, parked in ((halted, False), (random_state(1), True)):
        state = to_kernel(saved, now=NOW, parked=parked)
        after, waits = from_kernel(state, index=0, now=NOW)
        assert (after.waited, waits) == (saved.waited, parked)


# -- with the host's KVM


MODES = ("real", "protected", "long", "user")
PROGRAM = """
    add {a}, {b}
    adc {c}, {a}
    lea {d}, [{c} + 5]
    imul {b}, {d}
    cmp {b}, {a}
    push {b}
    push {a}
    pop {d}
    pushf
    pop {c}
    and {c}, 0x8d5
    bsf {a}, {b}
    cmp {a}, 7
    mov cx, ds
    str dx
    out 0x10, al
"""
WIDE = {"a": "rax", "b": "rbx", "c": "rcx", "d": "rsi"}
OF_32 = {"a": "eax", "b": "ebx", "c": "ecx", "d": "esi"}
FLOATING = "fld1; fadd st(0), st(0); fldpi; addps xmm1, xmm2; sqrtss xmm3, xmm1; out 0x10, al"


def start(guest: GuestMachine, mode: str, text: str = "") -> X86Cpu:
    """A CPU of that mode with a program and something in its registers."""
    names = OF_32 if mode in ("real", "protected") else WIDE
    code = text or PROGRAM.format(**names)
    if mode == "real":
        code = code.replace("str dx", "nop")
    if mode == "user" and "syscall" in QUIRKS:  # there it has the host's own selectors and IOPL
        code = code.replace("str dx", "nop").replace("mov cx, ds", "nop").replace("pushf", "push 0")
    cpu = guest.long(code, user=True) if mode == "user" else getattr(guest, mode)(code)
    for number, name in enumerate(("rax", "rbx", "rcx", "rsi", "r9")):
        cpu.write_register(name, 0x1234_5678 * (number + 3))
    for number in range(8):
        cpu.write_register(f"xmm{number}", 0x3F8F_5C29_4048_F5C3_4000_0001_4111_1111 + number)
    return cpu


def from_kvm(guest: GuestMachine, cpu: X86Cpu, ram: Any) -> ReferenceCpu:
    """The reference, in the state of a CPU of KVM's and with a copy of its memory."""
    ram.bytes[: guest.ram.size] = guest.read(0, guest.ram.size)
    memory = Memory([MemorySlot(0, guest.ram.size, ram.host)])
    saved, _ = from_kernel(cpu.save(), index=0, now=NOW)
    return reference(completed(saved, memory, NOW), memory, NOW)


def compared(saved: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """What both have to agree about: KVM tells no more of segments that are not usable."""
    files = {name: list(values) for name, values in saved.items() if name not in DERIVED}
    for name in ("tsc_offset", "acknowledged", "pdpte"):
        del files[name]
    files["system_flags"][0] &= ~IOPL  # which one of the hosts loses (README of the beds)
    for number, rights in enumerate(files["attributes"]):
        if rights >> 16:
            for name in ("attributes", "limit", "base"):
                files[name][number] = 0
    return files


@pytest.mark.parametrize("mode", MODES)
def test_kvm_takes_what_it_has_told(guest: GuestMachine, mode: str) -> None:
    cpu = start(guest, mode)
    told = cpu.save()
    saved, parked = from_kernel(told, index=0, now=NOW)
    given = to_kernel(saved, now=NOW, parked=parked)
    with guest_machine() as other:
        copy = other.machine.add_cpu(0)
        assert isinstance(copy, X86Cpu)
        copy.load(given)
        again, _ = from_kernel(copy.save(), index=0, now=NOW)
    assert compared(again.registers) == compared(saved.registers)
    assert again.flags == saved.flags


@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_kvm_began_ends_alike(guest: GuestMachine, mode: str) -> None:
    cpu = start(guest, mode)
    with guest_machine() as other:
        ours = from_kvm(guest, cpu, other.ram)
        there, here = cpu.run(), ours.run()
        assert isinstance(there, Pio)
        assert isinstance(here, Pio)
        assert (here.port, here.value) == (there.port, there.value)
        expected, _ = from_kernel(cpu.save(), index=0, now=NOW)
        # KVM has completed the instruction that has asked; ours does so now.
        after = Saved.read(isa, ours.save())
        after = settled(after, ours.core.memory, NOW)
        assert compared(after.registers) == compared(expected.registers)
        assert other.read(0, other.ram.size) == guest.read(0, guest.ram.size)


@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_ours_began_ends_alike_under_kvm(guest: GuestMachine, mode: str) -> None:
    cpu = start(guest, mode)
    with guest_machine() as other:
        ours = from_kvm(guest, cpu, other.ram)
        for _ in range(5):
            ours.core.step()
        half = Saved.read(isa, ours.save())
        copy = other.machine.add_cpu(0)
        assert isinstance(copy, X86Cpu)
        copy.load(to_kernel(half, now=NOW, parked=False))
        first, second = cpu.run(), copy.run()
        assert isinstance(first, Pio)
        assert isinstance(second, Pio)
        assert (first.port, first.value) == (second.port, second.value)
        ends = [from_kernel(each.save(), index=0, now=NOW)[0] for each in (cpu, copy)]
        assert compared(ends[0].registers) == compared(ends[1].registers)
        assert other.read(0, other.ram.size) == guest.read(0, guest.ram.size)


def test_floating_point_goes_on_alike(guest: GuestMachine) -> None:
    cpu = start(guest, "user", FLOATING)
    with guest_machine() as other:
        ours = from_kvm(guest, cpu, other.ram)
        cpu.run()
        ours.run()
        expected, _ = from_kernel(cpu.save(), index=0, now=NOW)
        after = Saved.read(isa, ours.save())
        for name in ("xmm", "mm", "exponent", "ftw", "fcw", "mxcsr_control"):
            assert after.registers[name] == expected.registers[name], name
        assert after.flags == expected.flags


def test_an_instruction_whose_answers_are_there_is_completed(guest: GuestMachine) -> None:
    """Ours executes it again with the answers, which KVM could not know."""
    cpu = guest.long(f"mov ebx, {DEVICE}; mov eax, [rbx]; inc eax; mov [rbx], eax")
    with guest_machine() as other:
        ours = from_kvm(guest, cpu, other.ram)
        asked = ours.run()
        assert isinstance(asked, Mmio)
        asked.value = 41
        half = Saved.read(isa, ours.save())
        assert half.answers
        done = settled(half, ours.core.memory, NOW)
        assert not done.answers
        copy = other.machine.add_cpu(0)
        copy.load(to_kernel(done, now=NOW, parked=False))
        exit = copy.run()
        assert isinstance(exit, Mmio)
        assert (exit.address, exit.value) == (DEVICE, 42)


def test_the_time_stamp_counter_goes_on(guest: GuestMachine) -> None:
    cpu = guest.long("rdtsc; shl rdx, 32; or rax, rdx; mov rbx, rax; out 0x10, al")
    with guest_machine() as other:
        before = cpu.read_register("tsc")
        ours = from_kvm(guest, cpu, other.ram)
        ours.run()
        told = ours.read_register("rbx")
        assert 0 <= told - before < 1 << 36  # of some GHz
        saved = settled(Saved.read(isa, ours.save()), ours.core.memory, NOW)
        copy = other.machine.add_cpu(0)
        assert isinstance(copy, X86Cpu)
        copy.load(to_kernel(saved, now=NOW, parked=False))
        assert 0 <= copy.read_register("tsc") - told < 1 << 36


def deadline_of(offset: int, value: int) -> tuple[int, int]:
    """What the board is asked for by a write of a deadline, and what a guest then reads if that is
    what the board's timer waits for."""
    memory = Memory()
    saved = random_state(3)
    files = saved.registers
    files["tsc_offset"], files["tsc_adjust"] = [offset & (1 << 64) - 1], [0]
    core = reference(Saved(files, 0, 1), memory, NOW).core
    with pytest.raises(NeedsBoard) as asked:
        call(write_msr, core, 0x6E0, value)
    access = asked.value.access
    assert isinstance(access, RegisterAccess)
    assert access.number == 0x6E0
    core.answers.append(access.value)
    return access.value, call(read_msr, core, 0x6E0)


def test_a_deadline_is_one_of_the_time_stamp_counter() -> None:
    """SDM volume 3, "TSC-Deadline Mode": the board's timer waits for its own clock."""
    assert deadline_of(1000, NOW + 5000) == (NOW + 4000, NOW + 5000)
    assert deadline_of(-1000, NOW) == (NOW + 1000, NOW)
    assert deadline_of(1000, 0) == (0, 0)


@pytest.mark.parametrize("offset", [-1000, 0, 1000])
def test_a_deadline_that_is_far_away_does_not_wrap_around(offset: int) -> None:
    moment, _ = deadline_of(offset, WORD)
    assert moment > WORD - 2000


@pytest.mark.parametrize("offset", [777, -777, 600 - 2**64])
@pytest.mark.parametrize("adjust", [0, 500, 2**64 - 500])
def test_a_deadline_is_a_moment_whatever_a_cpu_adds_to_its_counter(
    offset: int, adjust: int
) -> None:
    """Counters wrap around at 2 ** 64, as one does whose TSC_ADJUST is negative."""

    def moment(at: int) -> int:
        deadline = at + offset + adjust & WORD
        return _moment({TSC_DEADLINE: deadline, TSC_ADJUST: adjust}, offset, NOW)

    assert moment(NOW + 1) == NOW + 1
    assert moment(NOW) == moment(NOW - 5000) == 1, "it is over"
    assert _moment({TSC_DEADLINE: 0, TSC_ADJUST: adjust}, offset, NOW) == 0
    assert _moment({TSC_DEADLINE: WORD, TSC_ADJUST: adjust}, offset, NOW) > WORD - 3000


def test_a_deadline_that_is_over_is_not_none() -> None:
    for value in (1, 1000):
        assert deadline_of(1000, value)[0] == 1
