"""Pointer authentication: codes, where they stand, what becomes of wrong ones, who is trapped."""

from __future__ import annotations

import random
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from bimetal.ir.evaluate import call
from bimetal.ir.value import Block, const, tracing
from bimetal.isa.arm.pauth import mixed
from bimetal.isa.arm.qarma import qarma5
from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER, run
from .arm_results import QEMU, VIRTUALIZATION, ours, qemus
from .test_arm_system import SETUP, VECTORS

EXACT = "max,pauth-impdef=off"
"""The model whose algorithm is QARMA5, ours as QEMU's."""

# ---- codes

CONTROL = 0x30D0_0800
ENABLED = 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13
SIZES = 16 | 25 << 16, 25 | 16 << 16, 39 | 39 << 16
TBI0, TBI1, TBID0, TBID1 = 1 << 37, 1 << 38, 1 << 51, 1 << 52
SETTINGS = [
    (CONTROL | ENABLED, SIZES[0]), (CONTROL | ENABLED, SIZES[1] | TBI0 | TBI1),
    (CONTROL | ENABLED, SIZES[0] | TBI0 | TBI1 | TBID0),
    (CONTROL | ENABLED, SIZES[2] | TBI1 | TBID1), (CONTROL | ENABLED, SIZES[2]),
    (CONTROL | 1 << 31 | 1 << 13, SIZES[0]),
]  # fmt: skip
"""Of SCTLR_EL1 and TCR_EL1."""

_chance = random.Random(1)
POINTERS = [
    (pointer, _chance.getrandbits(64))
    for pointer in (
        0x0000_7FFF_1234_5678, 0xFFFF_8000_1234_5678, 0x5A00_7FFF_1234_5678, 0xA5FF_FF80_1234_5678,
        0x8000_0000_0000_0000, _chance.getrandbits(64),
    )
]  # fmt: skip

CODES = [f"{stem}{key} x3, x2" for stem in ("pac", "aut") for key in ("ia", "ib", "da", "db")]
CODES += ["paciza x3", "pacdzb x3", "autizb x3", "autdza x3", "xpaci x3", "xpacd x3"]
HINTS = [
    *(f"pac{key}1716" for key in ("ia", "ib")), *(f"aut{key}1716" for key in ("ia", "ib")),
]  # fmt: skip
LINKS = ["paciasp", "pacibsp", "paciaz", "pacibz", "autiasp", "autibsp", "autiaz", "autibz",
         "xpaclri"]  # fmt: skip
TWICE = [("pacia", "autia"), ("pacib", "autib"), ("pacda", "autda"), ("pacdb", "autdb"),
         ("pacib", "autia"), ("pacda", "autdb"), ("pacia", "xpaci")]  # fmt: skip

BODY = [
    *(f"mov x3, x1\n {text}\n str x3, [x10], #8" for text in CODES),
    *(f"mov x17, x1\n mov x16, x2\n {text}\n str x17, [x10], #8" for text in HINTS),
    *(f"mov x30, x1\n mov sp, x2\n {text}\n str x30, [x10], #8" for text in LINKS),
    "pacga x3, x1, x2\n str x3, [x10], #8",
    *(f"mov x3, x1\n {first} x3, x2\n {second} x3{', x2' if second[0] == 'a' else ''}\n"
      "str x3, [x10], #8" for first, second in TWICE),
]  # fmt: skip
NAMES = [*CODES, *HINTS, *LINKS, "pacga", *TWICE]
COUNT = len(SETTINGS) * len(POINTERS) * len(BODY)


def quads(numbers: list[tuple[int, int]]) -> str:
    return "\n".join(f".quad {a:#x}, {b:#x}" for a, b in numbers)


def keys() -> str:
    chance, lines = random.Random(2), []
    for name in ("ia", "ib", "da", "db", "ga"):
        for end in ("lo", "hi"):
            lines.append(f"ldr x0, ={chance.getrandbits(64):#x}\n msr ap{name}key{end}_el1, x0")
    return "\n".join(lines)


PROGRAM = f"""
    {keys()}
    adr x10, results
    adr x11, settings
    mov x12, #{len(SETTINGS)}
1:  ldp x0, x1, [x11], #16
    msr sctlr_el1, x0
    msr tcr_el1, x1
    isb
    adr x9, pointers
    mov x13, #{len(POINTERS)}
2:  ldp x1, x2, [x9], #16
    {chr(10).join(BODY)}
    subs x13, x13, #1
    b.ne 2b
    subs x12, x12, #1
    b.ne 1b
    b finish
    .ltorg
    .balign 8
settings: {quads(SETTINGS)}
pointers: {quads(POINTERS)}
"""


AT_EL2 = [
    (0x30C5_0830 | ENABLED, 1 << 31 | 1 << 23 | control)
    for control in (16, 25 | 1 << 20, 25 | 1 << 20 | 1 << 29, 39, 39 | 1 << 20, 16 | 1 << 29)
]
"""Of SCTLR_EL2 and TCR_EL2, which has one range: TBI is bit 20 there, TBID bit 29."""
HOST = f"""
    ldr x0, ={1 << 31 | 1 << 34:#x}
    msr hcr_el2, x0
    isb
"""
ABOVE = {
    "of a host": HOST + PROGRAM,
    "of EL2": PROGRAM.replace("sctlr_el1", "sctlr_el2").replace("tcr_el1", "tcr_el2")
    .replace(quads(SETTINGS), quads(AT_EL2)),
}  # fmt: skip


@cache
def expected(folder: Path) -> list[int]:
    """QEMU's numbers, made once for all engines."""
    return qemus(PROGRAM, COUNT, folder, EXACT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pauth")


def described(number: int) -> str:
    """What the number at a place among the results is of."""
    rest, op = divmod(number, len(BODY))
    setting, pointer = divmod(rest, len(POINTERS))
    return f"{NAMES[op]} of {POINTERS[pointer][0]:#x}, {SETTINGS[setting][1]:#x}"


def astray(number: int) -> bool:
    """Whether bits 63 and 55 of a pointer differ, one that is signed where one range or none has
    tags: QEMU 7.2 takes the sizes of the range that bit 55 names, the manual (J1.1.3) that of
    bit 63, or of 55 if any range has tags."""
    setting, pointer = divmod(number // len(BODY), len(POINTERS))
    named, control = POINTERS[pointer][0], SETTINGS[setting][1]
    everywhere = control & (TBI0 | TBI1 | TBID0 | TBID1) == TBI0 | TBI1
    return (named >> 63 ^ named >> 55) & 1 == 1 and not everywhere


def test_qarma5_makes_the_codes_of_its_authors() -> None:
    """The vector of "The QARMA Block Cipher Family" (Avanzi, 2016) for five rounds."""
    data, tweak = 0xFB623599DA6E8127, 0x477D469DEC0B8762
    low, high = 0xEC2802D4E0A488E9, 0x84BE85CE9804E94B
    assert call(qarma5, None, data, tweak, low, high) == 0xC003B93999B33765  # type: ignore[arg-type]


@programs(ASSEMBLER, LINKER, QEMU)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_pointer_becomes_what_it_does_under_qemu(
    engine: str, folder: Path, tmp_path: Path
) -> None:
    wanted = expected(folder)
    got = ours(engine, PROGRAM, COUNT, tmp_path, EXACT)
    wrong = [n for n in range(COUNT) if got[n] != wanted[n] and not astray(n)]
    told = [f"{described(n)}: {got[n]:#x}, not {wanted[n]:#x}" for n in wrong[:10]]
    assert not wrong, "\n".join([f"{len(wrong)} of {COUNT}", *told])


@programs(ASSEMBLER, LINKER, QEMU)
@pytest.mark.parametrize("engine", ENGINES[1:3])
@pytest.mark.parametrize("whose", ABOVE)
def test_every_pointer_becomes_what_it_does_at_el2_under_qemu(
    whose: str, engine: str, tmp_path: Path
) -> None:
    program = ABOVE[whose]
    wanted = qemus(program, COUNT, tmp_path, EXACT, VIRTUALIZATION)
    got = ours(engine, program, COUNT, tmp_path, EXACT, hypervisor=True)
    two_ranges = whose == "of a host"
    wrong = [n for n in range(COUNT) if got[n] != wanted[n] and not (two_ranges and astray(n))]
    told = [f"{described(n)}: {got[n]:#x}, not {wanted[n]:#x}" for n in wrong[:10]]
    assert not wrong, "\n".join([f"{len(wrong)} of {COUNT}", *told])


@programs(ASSEMBLER, LINKER, QEMU)
@pytest.mark.parametrize("engine", ENGINES)
def test_our_own_codes_stand_where_qarma5s_do(engine: str, folder: Path, tmp_path: Path) -> None:
    """Where no code of a right pointer remains it is all the same; codes are others, everywhere
    where there is room for them, and the bits around them are the same."""
    wanted, got = expected(folder), ours(engine, PROGRAM, COUNT, tmp_path)
    differing = dict.fromkeys(NAMES, 0)
    for n in range(COUNT):
        if astray(n):
            continue
        name = NAMES[n % len(BODY)]
        differing[name] |= got[n] ^ wanted[n]
        if got[n] != wanted[n]:
            _, tcr = SETTINGS[n // len(BODY) // len(POINTERS)]
            room = ((1 << 55) - 1) & -(1 << 64 - max(tcr & 63, tcr >> 16 & 63)) | 0xFF << 56
            assert (got[n] ^ wanted[n]) & ~room == 0 or name == "pacga", described(n)
    signing = {name for name in NAMES if isinstance(name, str) and name.startswith("pac")}
    assert {name for name, bits in differing.items() if bits} == signing


def test_our_own_codes_depend_on_every_bit() -> None:
    usual = [random.Random(3).getrandbits(64) for _ in range(4)]

    def code(*numbers: int) -> int:
        with tracing(Block()):
            return int(mixed(*(const(number, 64) for number in numbers)))

    for which, bit in product(range(4), range(64)):
        changed = [number ^ (1 << bit) * (n == which) for n, number in enumerate(usual)]
        different = code(*usual) ^ code(*changed)
        assert 4 < (different >> 32).bit_count() < 28


# ---- branches, returns, loads

USES = """
    ldr x0, =0xdeadbeef12345678
    msr apiakeylo_el1, x0
    msr apdakeyhi_el1, x0
    ldr x1, =0xf8d00800          // EnIA, EnIB, EnDA
    msr sctlr_el1, x1
    isb
    mov x2, #77
    mov x3, #0
    mov x25, #0
    adr x1, 1f
    pacia x1, x2
    braa x1, x2
    mov x3, #1000
1:  add x3, x3, #1
    adr x1, function
    paciza x1
    blraaz x1
    adr x1, function
    pacib x1, x2
    blrab x1, x2
    adr x1, place + 8
    pacdza x1
    ldraa x4, [x1]
    ldraa x5, [x1, #-8]!
    adr x6, place
    sub x6, x1, x6
    adr x1, 2f
    mov x7, sp
    pacia x1, x7
    msr elr_el1, x1
    mov x8, #0x3c5
    msr spsr_el1, x8
    eretaa
    mov x3, #2000
2:  add x3, x3, #1
    adr x1, 3f
    mov x30, x1
    pacibsp
    mov x26, #1
    retaa                        // by the other key
3:  mov x3, #3000
    b 3b
function:
    paciasp
    add x3, x3, #10
    retaa
    .balign 8
place: .quad 0x1111, 0x2222
    .ltorg
"""


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("engine", ENGINES)
def test_branches_and_loads_use_what_they_have_checked(engine: str, tmp_path: Path) -> None:
    with run(engine, SETUP + USES + VECTORS, tmp_path) as machine:
        assert machine.x(3) == 22
        assert (machine.x(4), machine.x(5), machine.x(6)) == (0x2222, 0x1111, 0)
        assert (machine.x(20), machine.x(25)) == (4, 1)
        assert machine.x(21) >> 26 == 0x21, "a fetch from where nothing is"
        assert machine.x(22) == machine.x(23)
        assert machine.x(22) >> 48 == 0x2000, "the error code of a key A"


# ---- traps

GUEST = """
    adr x0, hyp
    msr vbar_el2, x0
    ldr x1, ={hcr:#x}
    msr hcr_el2, x1
    ldr x1, =0xb0d00800          // SCTLR_EL1.EnIA
    msr sctlr_el12, x1
    adr x1, guest
    msr elr_el2, x1
    mov x1, #0x3c5
    msr spsr_el2, x1
    mov x10, #0
    eret
guest:
    pacia x2, x3
    pacib x2, x3
    paciasp
    pacibsp
    pacga x2, x3, x4
    xpaci x2
    mrs x2, apiakeylo_el1
    msr apgakeyhi_el1, x2
    hvc #1
    .ltorg
    .balign 2048
hyp:
    .space 1024
    mrs x21, esr_el2
    lsr x6, x21, #26
    cmp x6, #0x16
    b.eq stop
    lsl x10, x10, #8
    orr x10, x10, x6
    mrs x6, elr_el2
    add x6, x6, #4
    msr elr_el2, x6
    eret
stop:
    wfi
    b stop
"""


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("allowed", "traps"), [(0, 0x09_0909_1818), (1 << 41, 0x1818), (3 << 40, 0)]
)
def test_el2_hears_of_keys_that_el1_uses(
    engine: str, allowed: int, traps: int, tmp_path: Path
) -> None:
    """HCR_EL2.API: of instructions whose key is enabled, and PACGA. APK: of the keys."""
    source = GUEST.format(hcr=1 << 31 | allowed).replace("sctlr_el12", "sctlr_el1")
    with run(engine, source, tmp_path, hypervisor=True) as machine:
        assert machine.x(10) == traps
