"""Hostile guests of x86: random code in every mode, with random page tables, descriptor tables that
may lie across the end of memory, debug registers, and registers at random. They harm nobody but
themselves, and the interpreter does with them what the reference does.

pytest -m slow tests/fuzz/test_x86_hostile.py
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import pytest

from bimetal.accel.reference import ReferenceCpu
from bimetal.isa.describe import Decoded
from bimetal.isa.x86.exceptions import INTR_LINE, NMI_LINE
from bimetal.seam import Kicked
from tests.isa.x86_machine import X86Machine
from tests.sketches.sketched import SIZE, sketched

QUICK, LONG = 60, 20_000
"""Guests that are tried."""
STEPS = 200
"""Instructions that the reference executes of a guest."""
SOON = 0.02
"""Seconds after which the interpreter is told to stop one that does not end."""

PE, MP, EM, TS, NE, WP, AM, PG = (1 << n for n in (0, 1, 2, 3, 5, 16, 18, 31))
PSE, PAE, PGE, SMEP, SMAP = (1 << n for n in (4, 5, 7, 20, 21))
CR4 = 0x10 | 0x8 | PGE | 0x200 | 0x400 | 0x800 | 1 << 16 | 1 << 18 | SMEP | SMAP
LME, LMA, NXE = 1 << 8, 1 << 10, 1 << 11
VM, FLAGS = 1 << 17, 0x3F_7FD5
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))

UNLIKE = {
    *("rdtsc", "rdtscp", "rdrand", "rdseed", "rdpid", "cpuid", "rdmsr", "wrmsr"),
    *("fsin", "fcos", "fsincos", "fptan", "f2xm1", "fpatan", "fyl2x", "fyl2xp1"),
}
"""Instructions that tell of the time, of chance or of the processor, or compute what the reference
rounds in its own way."""
HIDDEN = ("shadow", "debug_shadow", "examined_at", "examined_pc", "told", "task_entered")
"""Registers that say by which instruction something was."""


class Guest:
    """A state and memory at random."""

    def __init__(self, seed: int):
        self.rng = rng = Random(seed)
        self.mode = rng.choice(("real", "v86", "protected", "paged", "pae", "long", "compatible"))
        self.memory = bytearray(rng.randbytes(0x1000) * (SIZE // 0x1000))
        self.code = rng.choice((0x1000, 0x1FF8, rng.randrange(0x1000, 0x8000)))
        body = b"".join(self._instruction() for _ in range(rng.randrange(1, 24))) + b"\xf4" * 8
        self.body = body
        self._put(self.code, body)
        self.registers = self._registers()

    def _put(self, at: int, data: bytes) -> None:
        end = min(SIZE, at + len(data))
        self.memory[at:end] = data[: end - at]

    def _instruction(self) -> bytes:
        """Random bytes that look a little like code."""
        rng = self.rng
        usual = b"\x66\x67\xf2\xf3\xf0\x2e\x36\x48\x4c\x41\xc5\xc4\x64"
        prefixes = bytes(rng.choices(usual, k=rng.choice((0, 0, 1, 1, 2, 4))))
        escape = rng.choice((b"", b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a"))
        return prefixes + escape + rng.randbytes(rng.randrange(1, 7))

    def _address(self) -> int:
        rng = self.rng
        return rng.choice((
            rng.randrange(SIZE), rng.randrange(SIZE) & ~15, SIZE - rng.randrange(64),
            rng.randrange(0x10000), rng.getrandbits(32), rng.getrandbits(64),
        ))  # fmt: skip

    def _table(self, entries: int, entry: int) -> int:
        """An address for a table, which may lie across the end of memory."""
        rng = self.rng
        usual = 0x1_0000 + 8 * rng.randrange(64)
        odd = (SIZE - rng.randrange(entries * entry), rng.getrandbits(32))
        return rng.choice((usual, usual, usual, *odd))

    def _descriptor(self) -> bytes:
        rng = self.rng
        rights = rng.choice((0x9B, 0x93, 0xFB, 0xF3, 0x97, 0x9F, 0x82, 0x89, 0x8B, 0x8C, 0xEC, 0x85,
                             0x81, 0x84, rng.randrange(256)))  # fmt: skip
        base, limit = rng.choice((0, 0, rng.randrange(SIZE))), rng.choice((0xFFFFF, 0xFFFF, 0x67))
        flags = rng.choice((0xC, 0xA, 0x4, 0x0, 0x8))
        return struct.pack("<HHBBBB", limit & 0xFFFF, base & 0xFFFF, base >> 16 & 255, rights,
                           flags << 4 | limit >> 16, base >> 24)  # fmt: skip

    def _gate(self, long: bool) -> bytes:
        rng = self.rng
        offset = rng.choice((rng.randrange(SIZE), self.code + rng.randrange(len(self.body))))
        kind = rng.choice((0x8E, 0xEE, 0x8E, 0xEE, 0x8F, 0x86, 0x85, 0x8C))
        selector = 8 * rng.randrange(1, 8)
        gate = struct.pack("<HHBBH", offset & 0xFFFF, selector, 0, kind, offset >> 16)
        return gate + bytes(8) if long else gate

    def _tables(self, registers: dict[str, int]) -> None:
        long = self.mode in ("long", "compatible")
        gdt, idt, task = self._table(16, 8), self._table(64, 16 if long else 8), 0x1_8000
        self._put(gdt, bytes(8) + b"".join(self._descriptor() for _ in range(15)))
        self._put(idt, b"".join(self._gate(long) for _ in range(48)))
        self._put(task, struct.pack("<26I", *(self._address() & 0xFFFF_FFFF for _ in range(26))))
        registers |= {"gdtr.base": gdt, "gdtr.limit": self.rng.choice((127, 23, 0xFFFF))}
        registers |= {"idtr.base": idt, "idtr.limit": self.rng.choice((1023, 127, 0xFFFF))}
        registers |= {"tr": 0x28, "tr.base": task, "tr.limit": 0x67, "tr.attributes": 0x8B}

    def _pages(self, entry: int, levels: int) -> int:
        """Page tables at random, most of which map memory to itself."""
        rng, tables = self.rng, 0x2_0000
        span = 0x1000 // entry
        for level in range(levels):
            place = tables + 0x1000 * level
            for n in range(span if level == levels - 1 else 4):
                usual = place + 0x1000 if level < levels - 1 else 0x1000 * n % SIZE
                wanted = usual | rng.choice((7, 7, 7, 7, 7, 3, 5, 0x67, 0x87, 0, 0x107))
                if rng.random() < 0.02:
                    wanted = rng.getrandbits(8 * entry)
                packed = wanted & ((1 << 8 * entry) - 1)
                self._put(place + entry * n, packed.to_bytes(entry, "little"))
        return tables

    def _registers(self) -> dict[str, int]:
        rng, mode = self.rng, self.mode
        found = {name: self._address() for name in GENERAL}
        narrow = mode in ("real", "v86")
        level = 3 if mode == "v86" else rng.choice((0, 0, 3))
        code = {"real": 0x9B, "v86": 0xF3, "long": 0xA09B | level << 5}.get(
            mode, rng.choice((0xC09B, 0x409B, 0x9B)) | level << 5
        )
        for name in SEGMENTS:
            selector = rng.randrange(0x1000) if narrow else 8 * rng.randrange(1, 8) | level
            base = selector << 4 if narrow else rng.choice((0, 0, 0, rng.randrange(0x1_0000)))
            limit = 0xFFFF if narrow else rng.choice((0xFFFF_FFFF,) * 3 + (0xFFFF, 0x3_FFFF, 0x10))
            usual = {"real": 0x93, "v86": 0xF3}.get(
                mode, rng.choice((0xC093, 0xC093, 0x93, 0xC097))
            )
            if name == "cs":
                base, limit, usual = 0, (0xFFFF if narrow else 0xFFFF_FFFF), code
                selector = 0 if narrow else selector
            rights = usual if narrow or name == "cs" else usual | level << 5
            found |= {name: selector, f"{name}.base": base, f"{name}.limit": limit}
            found[f"{name}.attributes"] = rights
        self._tables(found)
        flags = rng.getrandbits(22) & FLAGS & ~VM if rng.random() < 0.5 else 0x202
        found["rflags"] = flags | 2 | (VM if mode == "v86" else 0)
        cr0 = 0x10 | rng.choice((0, WP)) | rng.choice((0, AM, NE, TS, EM, MP))
        cr4 = rng.getrandbits(32) & CR4
        if mode != "real":
            cr0 |= PE
        if mode in ("paged", "v86"):
            found["cr3"], cr0, cr4 = self._pages(4, 2), cr0 | PG, cr4 | PSE
        if mode == "pae":
            found["cr3"], cr0, cr4 = self._pages(8, 3), cr0 | PG, cr4 | PAE
            tables = found["cr3"]
            self._put(tables, struct.pack("<4Q", *[tables + 0x1001] * 4))
        if mode in ("long", "compatible"):
            found["cr3"], cr0, cr4 = self._pages(8, 4), cr0 | PG, cr4 | PAE
            found["efer"] = LME | LMA | rng.choice((0, NXE)) | 1
        found |= {"cr0": cr0, "cr4": cr4, "xcr0": rng.choice((1, 3, 7))}
        if rng.random() < 0.3:
            found |= {f"dr{n}": rng.choice((self.code, self._address())) for n in range(4)}
            found["dr7"] = rng.getrandbits(32) & 0xFFFF_23FF | 0x400
        found["rsp"] = rng.choice((0x1_F000, found["rsp"], 0x1_F000))
        return found

    def begin(self, machine: X86Machine) -> None:
        """Put the guest into a machine."""
        machine.ram.bytes[:SIZE] = self.memory
        machine.cpu.reset()
        for name, value in self.registers.items():
            machine[name] = value
        machine["pc"] = self.code
        self.interrupts = self.rng.random() < 0.05
        for line in (INTR_LINE, NMI_LINE):
            machine.cpu.set_line(line, self.interrupts)


class Pair:
    """The reference, and the interpreter with the same guest."""

    def __init__(self, exits: ExitStack):
        one, other = (exits.enter_context(sketched("x86_64", e)) for e in ("reference", "interp"))
        self.reference = X86Machine(one.engine, one.cpu, one.ram)
        self.interpreter = X86Machine(other.engine, other.cpu, other.ram)
        assert isinstance(one.cpu, ReferenceCpu)
        self._cpu, self._step, self.steps = one.cpu, one.cpu.core.step, 0
        self._fetch, self.executed = one.cpu.core._fetch, set[str]()
        one.cpu.core.step = self._counted  # type: ignore[method-assign]
        one.cpu.core._fetch = self._noted  # type: ignore[method-assign]

    def _noted(self) -> Decoded:
        decoded = self._fetch()
        self.executed.add(decoded.insn.name)
        return decoded

    def _counted(self) -> None:
        self.steps += 1
        if self.steps > STEPS:
            self._cpu.kick()
        self._step()

    def try_guest(self, seed: int) -> bool:
        """Run a guest on both; whether they could be compared. AssertionError if they differ."""
        guest = Guest(seed)
        guest.begin(self.reference)
        saved = self.reference.cpu.save()
        self.interpreter.ram.bytes[:SIZE] = guest.memory
        self.interpreter.cpu.load(saved)
        self.steps, self.executed = 0, set()
        wanted = self.reference.cpu.run()
        timer = threading.Timer(SOON, self.interpreter.cpu.kick)
        if isinstance(wanted, Kicked):
            timer.start()
        found = self.interpreter.cpu.run()
        timer.cancel()
        if isinstance(wanted, Kicked) or self.executed & UNLIKE:
            return False
        if guest.interrupts:  # when one is taken is nobody's promise
            return False
        told = f"seed {seed}, {guest.mode}, {guest.body.hex(' ')}"
        assert repr(found) == repr(wanted), f"{told}: {found} instead of {wanted}"
        here, there = (m.registers(HIDDEN) for m in (self.interpreter, self.reference))
        other = {n: (here[n], there[n]) for n in here if here[n] != there[n]}
        assert not other, f"{told}: {other}"
        same = self.interpreter.ram.bytes[:SIZE] == self.reference.ram.bytes[:SIZE]
        assert same, told
        return True


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as exits:
        yield Pair(exits)


@pytest.mark.slow
@pytest.mark.parametrize("trials", [QUICK, LONG])
def test_hostile_guests_harm_only_themselves(pair: Pair, trials: int) -> None:
    compared = sum(pair.try_guest(seed) for seed in range(trials))
    assert compared > trials // 10
