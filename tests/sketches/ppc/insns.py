"""Instructions (Book I): arithmetic, comparison, branches, loads and stores in both byte orders."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu, pin, when

from .state import BIG, LITTLE, SPRS, ppc, reservation

__all__ = ["ALIGNMENT", "OV", "PROGRAM", "SO", "base", "in_both_orders"]

SO, OV = 1 << 31, 1 << 30  # of XER
# Where interrupts lead, by what they are.
ALIGNMENT, PROGRAM = 0x600, 0x700
TRAPPED = 1 << 17  # of SRR1: a program interrupt that an instruction asked for


def compared(cpu: Cpu, negative: Value, equal: Value) -> Value:
    """A field of CR: less, greater, equal, summary overflow (2.3.1)."""
    sign = select(negative, const(8, 4), select(equal, const(2, 4), 4))
    bits: Value = sign | ((cpu.xer & SO) != 0).zext(4)
    return bits


def set_field(cpu: Cpu, number: Value, bits: Value) -> None:
    """Write one of the eight fields of CR."""
    up = (const(7, 32) - number.zext(32)) * 4
    cpu.cr = (cpu.cr & ~(const(15, 32) << up)) | bits.zext(32) << up


def record(cpu: Cpu, result: Value) -> None:
    set_field(cpu, const(0, 3), compared(cpu, result.slt(0), result == 0))


# -- arithmetic


@ppc.insn("001110 RT:5 RA:5 SI:16", "addi {RT:r}, {RA:r0}, {SI:s}")
def addi(cpu: Cpu, RT: Value, RA: Value, SI: Value) -> None:
    cpu.r[RT] = base(cpu, RA) + SI.sext(64)


@ppc.insn("001111 RT:5 RA:5 SI:16", "addis {RT:r}, {RA:r0}, {SI:s}")
def addis(cpu: Cpu, RT: Value, RA: Value, SI: Value) -> None:
    cpu.r[RT] = base(cpu, RA) + (SI.sext(64) << 16)


@ppc.insn("011000 RS:5 RA:5 UI:16", "ori {RA:r}, {RS:r}, {UI}")
def ori(cpu: Cpu, RS: Value, RA: Value, UI: Value) -> None:
    cpu.r[RA] = cpu.r[RS] | UI.zext(64)


@ppc.insn("011111 RT:5 RA:5 RB:5 OE:1 100001010 Rc:1", "add{OE:o}{Rc:dot} {RT:r}, {RA:r}, {RB:r}")
def add(cpu: Cpu, RT: Value, RA: Value, RB: Value, OE: Value, Rc: Value) -> None:
    a, b = cpu.r[RA], cpu.r[RB]
    total = a + b
    cpu.r[RT] = total
    with when(OE == 1):
        overflow = ((a ^ total) & (b ^ total))[63] == 1
        cpu.xer = select(overflow, cpu.xer | SO | OV, cpu.xer & ~OV)
    with when(Rc == 1):
        record(cpu, total)


@ppc.insn(
    "011110 RS:5 RA:5 sh[1:5] mb[1:5|0] 000 sh[0] Rc:1",
    "rldicl{Rc:dot} {RA:r}, {RS:r}, {sh}, {mb}",
)
def rldicl(cpu: Cpu, RS: Value, RA: Value, sh: Value, mb: Value, Rc: Value) -> None:
    result = pure("rotl", cpu.r[RS], sh.zext(64)) & const(-1, 64).lsr(mb.zext(64))
    cpu.r[RA] = result
    with when(Rc == 1):
        record(cpu, result)


@ppc.insn("001011 BF:3 0 L:1 RA:5 SI:16", "cmp{L:wd}i {BF:cr}, {RA:r}, {SI:s}")
def cmpi(cpu: Cpu, BF: Value, L: Value, RA: Value, SI: Value) -> None:
    whole, other = cpu.r[RA], SI.sext(64)
    a = select(L == 1, whole, whole.trunc(32).sext(64))
    set_field(cpu, BF, compared(cpu, a.slt(other), a == other))


# -- special registers


@ppc.insn("011111 RT:5 0 000000000 0000010011 0", "mfcr {RT:r}")
def mfcr(cpu: Cpu, RT: Value) -> None:
    cpu.r[RT] = cpu.cr.zext(64)


def special(name: str, number: int) -> None:
    halves = f"{number & 31:05b} {number >> 5:05b}"

    @ppc.insn(f"011111 RS:5 {halves} 0111010011 0", f"mt{name} {{RS:r}}")
    def move_to(cpu: Cpu, RS: Value) -> None:
        setattr(cpu, name, cpu.r[RS])

    @ppc.insn(f"011111 RT:5 {halves} 0101010011 0", f"mf{name} {{RT:r}}")
    def move_from(cpu: Cpu, RT: Value) -> None:
        cpu.r[RT] = getattr(cpu, name)


for _name, _number in SPRS.items():
    special(_name, _number)


# -- branches


def leave_link(cpu: Cpu, LK: Value) -> None:
    following = cpu.next_pc
    with when(LK == 1):
        cpu.lr = following


@ppc.insn("010010 LI:24 AA:1 LK:1", "b{LK:lk}{AA:aa} {LI:rel4}")
def b(cpu: Cpu, LI: Value, AA: Value, LK: Value) -> None:
    away = LI.sext(64) << 2
    target = away if pin(AA) else cpu.pc + away
    leave_link(cpu, LK)
    cpu.jump(target)


def taken(cpu: Cpu, BO: Value, BI: Value) -> Value:
    """Whether a conditional branch is taken; CTR counts down unless BO says otherwise (2.4)."""
    counted = cpu.ctr - 1
    counts = BO[2] == 0
    bit = cpu.cr.lsr(const(31, 32) - BI.zext(32))[0]
    count_ok = (BO[2] == 1) | ((counted != 0) ^ (BO[1] == 1))
    condition_ok = (BO[4] == 1) | (bit == BO[3])
    with when(counts):
        cpu.ctr = counted
    go: Value = count_ok & condition_ok
    return go


@ppc.insn("010000 BO:5 BI:5 BD:14 AA:1 LK:1", "bc{LK:lk}{AA:aa} {BO}, {BI}, {BD:rel4}")
def bc(cpu: Cpu, BO: Value, BI: Value, BD: Value, AA: Value, LK: Value) -> None:
    away = BD.sext(64) << 2
    target = away if pin(AA) else cpu.pc + away
    go = taken(cpu, BO, BI)
    leave_link(cpu, LK)
    with when(go):
        cpu.jump(target)


@ppc.insn("010011 BO:5 BI:5 000 BH:2 0000010000 LK:1", "bclr{LK:lk} {BO}, {BI}, {BH}")
def bclr(cpu: Cpu, BO: Value, BI: Value, BH: Value, LK: Value) -> None:
    target = cpu.lr & ~3
    go = taken(cpu, BO, BI)
    leave_link(cpu, LK)
    with when(go):
        cpu.jump(target)


# -- memory


Meaning = Callable[..., None]


def in_both_orders(row: str, text: str) -> Callable[[Meaning], Meaning]:
    """Describe an instruction that accesses memory, whose byte order is that of code."""

    def describe(meaning: Meaning) -> Meaning:
        for mode in (BIG, LITTLE):

            def ordered(cpu: Cpu, mode: int = mode, **fields: Value) -> None:
                meaning(cpu, mode == BIG, **fields)

            ppc.insn(f"{mode:08b} {row}", text)(ordered)
        return meaning

    return describe


def base(cpu: Cpu, RA: Value) -> Value:
    """(RA|0)."""
    return select(RA == 0, 0, cpu.r[RA])


def load_and_store(width: int, letter: str, load: str, store: str) -> None:
    """D-form, or DS-form whose displacement is in words."""
    in_words = width == 64
    field, kind = ("DS:14 00", "s4") if in_words else ("D:16", "s")

    def address(cpu: Cpu, RA: Value, fields: dict[str, Value]) -> Value:
        (displacement,) = fields.values()
        return base(cpu, RA) + (displacement.sext(64) << (2 if in_words else 0))

    place = f"{{{field.partition(':')[0]}:{kind}}}({{RA:r0}})"
    name = f"l{letter}" if in_words else f"l{letter}z"

    @in_both_orders(f"{load} RT:5 RA:5 {field}", f"{name} {{RT:r}}, {place}")
    def load_zero(cpu: Cpu, big: bool, RT: Value, RA: Value, **fields: Value) -> None:
        cpu.r[RT] = cpu.load(address(cpu, RA, fields), width, big_endian=big).zext(64)

    @in_both_orders(f"{store} RS:5 RA:5 {field}", f"st{letter} {{RS:r}}, {place}")
    def store_low(cpu: Cpu, big: bool, RS: Value, RA: Value, **fields: Value) -> None:
        cpu.store(address(cpu, RA, fields), cpu.r[RS].trunc(width), big_endian=big)


load_and_store(8, "b", "100010", "100110")
load_and_store(32, "w", "100000", "100100")
load_and_store(64, "d", "111010", "111110")


# -- reservations


def reserving(width: int, letter: str, load: str, store: str) -> None:
    """lwarx and stwcx., and their likes (II 4.6.2)."""

    @in_both_orders(
        f"011111 RT:5 RA:5 RB:5 {load} EH:1", f"l{letter}arx {{RT:r}}, {{RA:r0}}, {{RB:r}}, {{EH}}"
    )
    def load_and_reserve(cpu: Cpu, big: bool, RT: Value, RA: Value, RB: Value, EH: Value) -> None:
        address = base(cpu, RA) + cpu.r[RB]
        cpu.r[RT] = reservation.load(cpu, address, width, big_endian=big).zext(64)

    @in_both_orders(
        f"011111 RS:5 RA:5 RB:5 {store} 1", f"st{letter}cx. {{RS:r}}, {{RA:r0}}, {{RB:r}}"
    )
    def store_conditional(cpu: Cpu, big: bool, RS: Value, RA: Value, RB: Value) -> None:
        address, new = base(cpu, RA) + cpu.r[RB], cpu.r[RS].trunc(width)
        stored = reservation.store(cpu, address, new, big_endian=big)
        summary = ((cpu.xer & SO) != 0).zext(4)
        set_field(cpu, const(0, 3), summary | stored.zext(4) << 1)


reserving(32, "w", "0000010100", "0010010110")
reserving(64, "d", "0001010100", "0011010110")


# -- traps that instructions ask for


@ppc.insn("000011 TO:5 RA:5 SI:16", "twi {TO}, {RA:r}, {SI:s}")
def twi(cpu: Cpu, TO: Value, RA: Value, SI: Value) -> None:
    """Less, greater, equal, and both without a sign (3.3.10.1)."""
    a, other = cpu.r[RA].trunc(32), SI.sext(32)
    tests = (a.slt(other), other.slt(a), a == other, a.ult(other), other.ult(a))
    hits = const(0, 1)
    for n, test in enumerate(tests):
        hits = hits | (test & TO[4 - n])
    with when(hits, cold=True):
        cpu.trap(PROGRAM, TRAPPED)
