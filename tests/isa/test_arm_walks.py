"""Translation tables at random: what AT finds in them, beside QEMU's system emulation.

The same program asks for each address with each kind of AT, at EL2, and leaves what PAR_EL1 says;
under QEMU it tells that by the serial port. Tables are of all granules and sizes, with random
attributes, rights taken away by tables, addresses that are too large, and a second stage.

pytest -m slow tests/isa/test_arm_walks.py      # for longer
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, LINKER, Run, assemble

QEMU = "qemu-system-aarch64"
pytestmark = programs(ASSEMBLER, LINKER, QEMU)

KINDS = ("s1e1r", "s1e1w", "s1e0r", "s1e0w", "s1e1rp", "s1e1wp", "s12e1r", "s12e1w", "s12e0r",
         "s12e0w")  # fmt: skip
REGISTERS = ("tcr_el1", "ttbr0_el1", "ttbr1_el1", "mair_el1", "sctlr_el1", "vtcr_el2", "vttbr_el2",
             "hcr_el2")  # fmt: skip
CASE = 64 * 8
"""Bytes of a case: the registers, PSTATE.PAN, how many addresses, and these."""
ADDRESSES = 40
CODE_AT = BASE + 0x20_0000
"""A second copy, since QEMU has its device tree where memory begins."""
CASES_AT, FOUND_AT, TABLES_AT = CODE_AT + 0x1_0000, CODE_AT + 0x4_0000, CODE_AT + 0x20_0000
ROOM = 0x20_0000
"""Bytes for the tables of a case."""

PROGRAM = f"""
    adr x0, vectors
    msr vbar_el2, x0
    ldr x1, ={CASES_AT}
    ldr x2, ={FOUND_AT}
next:
    ldr x3, [x1, #72]
    cbz x3, done
    {{registers}}
    ldr x4, [x1, #64]
    msr pan, #0
    cbz x4, 1f
    msr pan, #1
1:  tlbi alle1
    dsb sy
    isb
    add x5, x1, #80
2:  ldr x6, [x5], #8
    {{kinds}}
    subs x3, x3, #1
    b.ne 2b
    add x1, x1, #{CASE}
    b next
done:
    cbnz x28, wait               // nobody listens
    ldr x3, ={FOUND_AT}
    ldr x4, =0x9000000
4:  cmp x3, x2
    b.eq off
    ldrb w5, [x3], #1
    strb w5, [x4]
    b 4b
off:
    ldr x0, =0x84000008
    smc #0
wait:
    wfi
    b wait
    .ltorg
    .balign 2048
vectors:                         // an external abort of the walk is an exception
    .space 512
    mrs x9, elr_el2
    add x9, x9, #4
    msr elr_el2, x9
    mrs x9, esr_el2
    msr par_el1, x9
    eret
"""


def program(folder: Path) -> bytes:
    registers = "\n".join(
        f"ldr x4, [x1, #{8 * n}]\n msr {name}, x4" for n, name in enumerate(REGISTERS)
    )
    kinds = "\n".join(f"at {kind}, x6\n isb\n mrs x7, par_el1\n str x7, [x2], #8" for kind in KINDS)
    return assemble(PROGRAM.format(registers=registers, kinds=kinds), folder)


@dataclass
class Stage:
    """The tables of a stage with one granule: filled as addresses are asked for."""

    case: Case
    grain: int
    bits: int
    first: int
    wide: bool
    output: int
    second: bool
    tables: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def stride(self) -> int:
        return self.grain - 3

    def shift(self, level: int) -> int:
        return self.grain + self.stride * (3 - level)

    def leaf_at(self, level: int) -> bool:
        """Whether a leaf may be at a level: what QEMU does not look at."""
        if level in (2, 3):
            return True
        if level == 1:
            return self.grain == 12 or (self.grain == 14 and self.wide) or (
                self.grain == 16 and self.output == 52)  # fmt: skip
        return level == 0 and self.grain == 12 and self.wide

    def encoded(self, address: int) -> int:
        """An address as a descriptor has it."""
        low = address & (1 << 48) - 1
        if self.wide:
            return address & (1 << 50) - 1 | (address >> 50) << 8
        if self.grain == 16 and self.output == 52:
            return low | (address >> 48) << 12
        return low

    def attributes(self, level: int) -> int:
        """What stands in a leaf beside the address."""
        chance = self.case.chance
        keep = 3 << 50 if self.wide else 0
        value = (
            chance.getrandbits(64) & (0x0078_0000_0000_0CFC | (0 if self.wide else 0x300)) & ~keep
        )
        value |= chance.getrandbits(1) << 51
        if chance.random() < 0.8:
            value |= 1 << 10
        if not self.second:
            value &= ~(1 << 5)
        return value | (3 if level == 3 else 1)

    def fill(self, address: int) -> None:
        """Have descriptors on the way of an address."""
        chance, inside = self.case.chance, address & (1 << self.bits) - 1
        table = self.table(self.first, 0)
        for level in range(self.first, 4):
            shift = self.shift(level)
            index = inside >> shift
            if level > self.first:
                index &= (1 << self.stride) - 1
            slot = table + 8 * index
            if self.case.word(slot):
                return
            leaf = level == 3 or (self.leaf_at(level) and chance.random() < 0.15)
            kind = chance.random()
            if kind < 0.03:
                self.case.put(slot, chance.getrandbits(63) << 1)
                return
            if leaf:
                size = 1 << shift
                target = chance.getrandbits(self.output) & ~(size - 1)
                if not self.second and chance.random() < 0.7:
                    target = self.case.intermediate() & ~(size - 1)
                if chance.random() < 0.05:
                    target = chance.getrandbits(52) & ~(size - 1)
                self.case.put(slot, self.encoded(target) | self.attributes(level))
                return
            table = self.table(level + 1, inside >> shift)
            takes = chance.getrandbits(5) << 59 if chance.random() < 0.3 else 0
            self.case.put(slot, self.encoded(table) | (0 if self.second else takes) | 3)

    def table(self, level: int, prefix: int) -> int:
        """The table of a part of the range; there are few, so that ways meet."""
        key = level, 0 if self.grain == 16 else prefix % 2
        if key not in self.tables:
            self.tables[key] = self.case.room(1 << self.grain)
        return self.tables[key]


class Case:
    """Registers, tables and addresses."""

    def __init__(self, chance: random.Random, memory: bytearray, number: int):
        self.chance, self.memory = chance, memory
        self.start = self.next_room = TABLES_AT + number * ROOM
        self.pages: list[int] = []
        wide = chance.random() < 0.4
        size = 6 if wide or chance.random() < 0.4 else chance.randrange(7)
        self.registers = dict.fromkeys(REGISTERS, 0)
        self.registers["hcr_el2"] = 1 << 31
        self.second = self.stage_2() if chance.random() < 0.5 else None
        stages, tcr = [], size << 32 | wide << 59
        for high in (False, True):
            stage, bits = self.stage(chance, wide, size, high)
            tcr |= bits
            stages.append(stage)
            root = stage.table(stage.first, 0)
            at = 1 << 48 if chance.random() < 0.5 else 0
            self.registers[f"ttbr{high:d}_el1"] = root | at | chance.getrandbits(1)
        for bit, often in ((37, 0.3), (38, 0.3), (39, 0.3), (40, 0.5), (41, 0.3), (42, 0.3),
                           (55, 0.2), (56, 0.2), (7, 0.05), (23, 0.05)):  # fmt: skip
            tcr |= (chance.random() < often) << bit
        self.registers["tcr_el1"] = tcr | chance.getrandbits(2) << 12 | chance.getrandbits(2) << 28
        self.registers["mair_el1"] = int.from_bytes(
            bytes(chance.choice((0x00, 0x04, 0x44, 0xFF, 0xBB, 0x4F)) for _ in range(8)), "little"
        )
        self.registers["sctlr_el1"] = 0x30D0_0800 | (chance.random() < 0.97) | (
            (chance.random() < 0.2) << 19)  # fmt: skip
        self.pan = chance.getrandbits(1)
        self.addresses = []
        for _ in range(ADDRESSES):
            stage = chance.choice(stages)
            address = self.address(stage, stage is stages[1])
            self.addresses.append(address)
            stage.fill(address)
        if self.second:
            self.map_all()

    def stage(self, chance: random.Random, wide: bool, size: int, high: bool) -> tuple[Stage, int]:
        """One of the ranges, and what TCR says of it."""
        grain = chance.choice((12, 14, 16))
        output = (32, 36, 40, 42, 44, 48, 52)[size]
        wide = wide and grain != 16
        if output == 52 and not wide and grain != 16:
            output = 48
        least = 12 if wide or grain == 16 else 16
        t_size = chance.randrange(least, 48 if grain == 16 else 49)
        if chance.random() < 0.05:
            t_size = chance.randrange(64)
        bits = min(max(64 - t_size, 16 if grain < 16 else 17), 52)
        levels = -(-(bits - grain) // (grain - 3))
        code = {12: 2, 14: 1, 16: 3}[grain] if high else {12: 0, 14: 2, 16: 1}[grain]
        stage = Stage(self, grain, bits, 4 - levels, wide, output, second=False)
        return stage, t_size << (16 if high else 0) | code << (30 if high else 14)

    def stage_2(self) -> Stage:
        chance = self.chance
        grain, wide = chance.choice((12, 14, 16)), chance.random() < 0.3
        self.registers["hcr_el2"] |= 1 | (chance.random() < 0.3) << 2
        size = 6 if wide else chance.choice((5, 5, 5, 4, 6))
        wide = wide and grain != 16
        output = (32, 36, 40, 42, 44, 48, 52)[size]
        if output == 52 and not wide and grain != 16:
            output = 48
        # With 16 KiB QEMU begins at level 1, with 16 tables at most.
        bits = chance.randrange(32, min(output, 51 if grain == 14 else 52) + 1)
        first = 4 - -(-(bits - grain) // (grain - 3))
        most = bits - 4 if chance.random() < 0.4 else bits  # tables side by side
        lowest = 1 if grain > 12 else 0 - wide
        first = max(first, lowest, 4 - -(-(most - grain) // (grain - 3)))
        codes = {12: {2: 0, 1: 1, 0: 2, 3: 3, -1: 0}, 14: {3: 0, 2: 1, 1: 2, 0: 3},
                 16: {3: 0, 2: 1, 1: 2}}[grain]  # fmt: skip
        code = codes[first]
        vtcr = (64 - bits) | code << 6 | {12: 0, 14: 2, 16: 1}[grain] << 14 | size << 16 | 1 << 31
        vtcr |= wide << 32 | (wide and first == -1) << 33
        vtcr |= (chance.random() < 0.3) << 21 | (chance.random() < 0.3) << 22
        stage = Stage(self, grain, bits, first, wide, output, second=True)
        self.registers["vtcr_el2"] = vtcr
        root = stage.tables[first, 0] = self.room(16 << grain)
        self.registers["vttbr_el2"] = root
        return stage

    def map_all(self) -> None:
        """Have stage 2 map the tables to themselves, most of the time, and pages anywhere."""
        second = self.second
        assert second is not None
        table = second.table(second.first, 0)
        for level in range(second.first, 3):
            index = self.start >> second.shift(level)
            if level > second.first:
                index &= (1 << second.stride) - 1
            following = self.room(1 << second.grain)
            second.tables[level + 1, self.start >> second.shift(level) | 1 << 60] = following
            self.put(table + 8 * index, second.encoded(following) | 3)
            table = following
        size = 1 << second.grain
        for place in range(self.start, self.start + ROOM, size):
            index = place >> second.grain & (1 << second.stride) - 1
            if self.chance.random() < 0.995:
                rights = 0x4FF if second.wide else 0x7FF
                self.put(table + 8 * index, second.encoded(place) | rights)
        for page in self.pages:
            second.fill(page & (1 << second.bits) - 1)

    def intermediate(self) -> int:
        """A page that stage 2 will map, if there is one."""
        page = self.chance.getrandbits(self.second.bits if self.second else 30) & ~0xFFFF
        self.pages.append(page)
        return page

    def address(self, stage: Stage, high: bool) -> int:
        chance = self.chance
        inside = chance.getrandbits(stage.bits)
        if chance.random() < 0.6:  # near others
            for level in range(max(stage.first, 0), 4):
                shift = stage.shift(level)
                inside = inside & ~(((1 << stage.stride) - 4) << shift)
        inside &= (1 << stage.bits) - 1
        address = inside | ((-1 << stage.bits) & (1 << 64) - 1 if high else 0)
        if chance.random() < 0.1:
            address ^= chance.getrandbits(8) << 56
        if chance.random() < 0.05:
            address ^= 1 << chance.randrange(64)
        return address

    def room(self, size: int) -> int:
        """Memory for a table, aligned to its size."""
        place = -(-self.next_room // size) * size
        self.next_room = place + size
        assert self.next_room <= self.start + ROOM, "a case with many tables"
        return place

    def word(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.memory, at - BASE)[0])

    def put(self, at: int, word: int) -> None:
        struct.pack_into("<Q", self.memory, at - BASE, word)

    def write(self, at: int) -> None:
        words = (*self.registers.values(), self.pan, len(self.addresses), *self.addresses)
        for n, word in enumerate(words):
            self.put(at + 8 * n, word)


def image(seed: int, count: int, folder: Path) -> tuple[bytes, list[Case]]:
    """A program with its cases."""
    memory = bytearray(TABLES_AT - BASE + count * ROOM)
    code = program(folder)
    for at in (0, CODE_AT - BASE):
        memory[at : at + len(code)] = code
    cases = []
    for number in range(count):
        case = Case(random.Random(seed * 1000 + number), memory, number)
        case.write(CASES_AT + number * CASE)
        cases.append(case)
    return bytes(memory), cases


def qemus(memory: bytes, folder: Path) -> bytes:
    """What QEMU's processor finds."""
    file, out = folder / "image", folder / "found"
    file.write_bytes(memory[CODE_AT - BASE :])
    machine = "virt,virtualization=on,gic-version=3"
    subprocess.run(
        [QEMU, "-M", machine, "-cpu", "max", "-m", "512", "-display", "none", "-monitor", "none",
         "-serial", f"file:{out}", "-device", f"loader,file={file},addr={CODE_AT:#x},force-raw=on",
         "-device", f"loader,addr={CODE_AT:#x},cpu-num=0"],
        check=True, timeout=40, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return out.read_bytes()


def ours(engine: str, memory: bytes) -> bytes:
    """What ours find."""
    machine = Run(engine, memory, size=len(memory))
    try:
        machine.until_halt(el2_there=1, el=2, x28=1)
        return bytes(machine.memory(FOUND_AT, machine.x(2) - FOUND_AT))
    finally:
        machine.close()


# What the manual leaves open of what is found: NS; and of two stages the attributes, which are not
# combined here.
UNKNOWN, SHAREABILITY, COMBINED = 1 << 9, 3 << 7, 0xFF << 56 | 3 << 7
OF_TABLES = 3 << 8  # S and PTW of a fault


def comparable(kind: str, par: int) -> int:
    if par & 1:
        # Where stage 2 has no table of stage 1, QEMU 7.2 tells the level of that one.
        return par & ~(3 << 1) if par & OF_TABLES == OF_TABLES and par < 1 << 12 else par
    if kind.startswith("s12"):
        return par & ~(UNKNOWN | COMBINED)
    # QEMU 7.2 says of memory that is not cached what the tables say, and not 2 (C5.3).
    shared = par >> 60 == 0 or par >> 56 == 0x44
    return par & ~(UNKNOWN | (SHAREABILITY if shared else 0))


def differences(found: bytes, wanted: bytes, cases: list[Case]) -> Iterator[str]:
    """Where two differ, in words."""
    assert len(found) == len(wanted)
    answers = zip(struct.iter_unpack("<Q", found), struct.iter_unpack("<Q", wanted), strict=True)
    for number, case in enumerate(cases):
        for address in case.addresses:
            for kind in KINDS:
                (mine,), (theirs,) = next(answers)
                if comparable(kind, mine) != comparable(kind, theirs):
                    said = " ".join(f"{n}={value:#x}" for n, value in case.registers.items())
                    yield f"{number}: {kind} {address:#x}: {mine:#x}, QEMU {theirs:#x}; {said}"


def compare(engine: str, seed: int, count: int, folder: Path) -> None:
    memory, cases = image(seed, count, folder)
    wrong = list(differences(ours(engine, memory), qemus(memory, folder), cases))
    assert not wrong, "\n".join(wrong[:8])


@pytest.mark.parametrize(("engine", "count"), [("reference", 2), ("interp", 24)])
def test_tables_at_random(engine: str, count: int, tmp_path: Path) -> None:
    compare(engine, 1, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["reference", "interp", "everything", "optimise,forget"])
@pytest.mark.parametrize("seed", range(2, 8))
def test_tables_at_random_for_long(engine: str, seed: int, tmp_path: Path) -> None:
    compare(engine, seed, 4 if engine == "reference" else 60, tmp_path)
