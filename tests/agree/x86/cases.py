"""Cases for x86: encodings with random fields, in states with the edges of every format."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from functools import cache

from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.ir.access import Access
from bimetal.ir.evaluate import Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.describe import Decoded, Insn
from bimetal.isa.x86 import x86
from bimetal.isa.x86.fields import NO_SEGMENT, NONE, RIP

from ..operands import EDGES, INTEGERS
from ..state import CODE, DATA, Case, State
from .native import FLAGS, GENERAL, INIT_FCW, INIT_MXCSR, MEMORY

__all__ = ["VECTORS", "cases", "decode", "instructions"]

VECTORS = (0, 1, 2, 3, 9, 14)
"""The vector registers that are used."""
MASKED = INIT_MXCSR
MXCSR = (
    *(MASKED, MASKED, MASKED, MASKED | 1 << 13, MASKED | 2 << 13, MASKED | 3 << 13),
    *(MASKED | 1 << 6, MASKED | 1 << 15, MASKED | 0x8040, MASKED | 0x3F),
)
"""Rounding modes, flushing to zero, flags."""
DF = 0x400
UNMASKED = tuple(MASKED & ~(bit << 7) for bit in (1, 2, 4, 8, 16, 32, 63, 5, 24))
MIDDLE = DATA + MEMORY // 2
VECTOR = re.compile(r"\{:[VWHUL](b|w|d|q|dq|qq)\}")
MMX = re.compile(r"\{:[PQN][qd]\}")


@cache
def decode(code: bytes) -> Decoded | None:
    """The instruction of 64-bit code with these bytes."""
    return x86.read(code.ljust(x86.fetch, b"\0"))


def instructions(*extensions: str) -> list[Insn]:
    """The instructions of some extensions."""
    return [insn for insn in x86.insns if insn.extension in extensions]


def _fields(insn: Insn, rng: random.Random) -> dict[str, int]:
    widths = insn.pattern.widths
    usual = {"long": 1, "plain": 1, "asize": 2, "seg": NO_SEGMENT, "lock": 0, "wide": 0}
    fields = {}
    for name, width in widths.items():
        fields[name] = usual.get(name, rng.getrandbits(width) & insn.pattern.field_mask(name))
    if "wide" in widths:
        fields["wide"] = int(rng.random() < 0.4)
    if "osize" in widths:
        narrow = "pp" not in widths or fields["pp"] == 1
        fields["osize"] = 2 if fields.get("wide") else 0 if narrow and rng.random() < 0.3 else 1
    for name in ("reg", "rm", "vvvv"):
        if name in widths and _of_vectors(insn):
            fields[name] = rng.choice(VECTORS)
    fields |= {name: rng.randrange(16) for name in ("base",) if name in widths}
    if "index" in widths:
        fields["index"] = rng.choice((NONE, NONE, *range(4), *range(5, 16)))
    if "gather" in insn.name:
        return fields | {"index": rng.choice(VECTORS), "disp": 0, "rex": 0}
    if "base" in widths and rng.random() < 0.1:
        fields |= {"base": RIP, "index": NONE}
    if "disp" in widths:
        fields["disp"] = rng.choice((0, 8, -16 & 0xFFFF_FFFF, 0x1234, rng.getrandbits(32)))
    if "imm" in widths:
        absolute = "{:O" in insn.template.text
        immediate = MIDDLE + rng.randrange(-48, 48) if absolute else _immediate(rng)
        fields |= {"imm": immediate & 0xFFFF_FFFF, "high": immediate >> 32}
    if "rex" in widths:
        high = any(fields.get(name, 0) & 8 for name in ("reg", "rm", "base", "index"))
        fields["rex"] = int(high or fields.get("wide", 0) or rng.random() < 0.5)
    return fields


def _immediate(rng: random.Random) -> int:
    """A number of some width, sign-extended to 64 bits; which widths fit the opcode is seen when it
    is encoded."""
    bits = rng.choice((3, 8, 8, 8, 8, 16, 32, 32, 64))
    value = rng.getrandbits(bits)
    return value - (value >> (bits - 1) << bits) & ((1 << 64) - 1)


def _of_vectors(insn: Insn) -> bool:
    return VECTOR.search(insn.template.text) is not None


def _integer(rng: random.Random, near: int) -> int:
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(INTEGERS)
    return near if kind < 0.6 else rng.getrandbits(64)


def _lanes(rng: random.Random, near: int, width: int) -> int:
    """A vector of numbers or integers of one width, with the edges of their format."""
    if rng.random() < 0.1:
        return near & ((1 << width) - 1)
    lane = rng.choice((8, 16, 32, 32, 64, 64))
    edges = {16: EDGES["h"], 32: EDGES["s"], 64: EDGES["d"]}.get(lane, INTEGERS)
    floating = rng.random() < 0.7
    value = 0
    for _ in range(width // lane):
        pool = edges if floating else INTEGERS
        number = rng.choice(pool) if rng.random() < 0.7 else rng.getrandbits(lane)
        value = value << lane | number & ((1 << lane) - 1)
    return value


def _extended(rng: random.Random, near: int) -> int:
    """A number of 80 bits of some kind."""
    sign, kind = rng.getrandbits(1) << 79, rng.random()
    mantissa = (1 << 63 | rng.getrandbits(63)) & -(1 << rng.choice((0, 0, 11, 40, 63)))
    if kind < 0.12:
        return sign | rng.choice((0, 1, 0x7FFF << 64 | 1 << 63, 0x3FFF << 64 | 1 << 63))
    if kind < 0.2:
        return sign | 0x7FFF << 64 | mantissa | rng.choice((0, 1 << 62))
    if kind < 0.24:
        return sign | rng.choice((mantissa >> rng.randrange(64), rng.getrandbits(79)))
    if kind < 0.4:
        return near ^ rng.choice((0, 1, 1 << 79, 1 << 64))
    if kind < 0.5:
        return sign | rng.getrandbits(15) << 64 | mantissa
    return sign | rng.randrange(0x3FFF - 40, 0x3FFF + 70) << 64 | mantissa


CONTROL = (0x37F, 0x37F, 0x77F, 0xB7F, 0xF7F, 0x27F, 0x07F)
"""Rounding modes and precisions."""
UNMASKED_EARLY = (1, 2, 4, 7, 0x20)
"""Exceptions after which there is no result of another exponent."""


class _Probe:
    """Memory everywhere, which remembers where it was looked at."""

    def __init__(self) -> None:
        self.accesses: list[tuple[int, Access]] = []

    def load(self, address: int, access: Access) -> int:
        """See `GuestMemory`."""
        self.accesses.append((address, access))
        return 0

    def store(self, address: int, value: int, access: Access) -> None:
        """See `GuestMemory`."""
        self.accesses.append((address, access))

    def update(self, address: int, access: Access, change: object) -> int:
        """See `GuestMemory`."""
        self.accesses.append((address, access))
        return 0


def first_access(decoded: Decoded, registers: dict[str, int]) -> tuple[int, Access] | None:
    """Where an instruction accesses memory first, if it does."""
    store, memory = Registers(x86.state), _Probe()
    for name in GENERAL:
        store.write(name, registers[name])
    for name in (name for name in registers if name.startswith("ymm")):
        # Masks, by which elements are accessed.
        store.set("xmm", int(name[3:]), registers[name] & (1 << 128) - 1)
        store.set("ymmh", int(name[3:]), registers[name] >> 128)
    store.set("fcw", 0, INIT_FCW)
    with suppress(Trap):
        evaluate_insn(decoded, store, memory, CODE, Environment())
    return memory.accesses[0] if memory.accesses else None


def _of_memory(decoded: Decoded) -> bool:
    """Whether ModRM names memory."""
    return re.search(r"\[|[c-gs]s:", decoded.text(CODE)) is not None


def _aimed(decoded: Decoded, registers: dict[str, int], rng: random.Random) -> bool:
    """Have the base register, or the index, point into the memory of the state."""
    fields = decoded.fields
    if not _of_memory(decoded):
        return True
    name = GENERAL[fields["base"]] if fields["base"] < 16 else ""
    if not name or fields["base"] == fields["index"]:
        return fields["base"] == RIP
    access = first_access(decoded, registers)
    if access is None:
        return True
    aligned = rng.random() < 0.7
    target = MIDDLE + (32 * rng.randrange(-1, 2) if aligned else rng.randrange(-48, 48))
    if decoded.insn.name in ("fnsave", "frstor"):
        target = DATA + 16 * rng.randrange(4)
    registers[name] = (registers[name] + target - access[0]) % (1 << 64)
    moved = first_access(decoded, registers)
    return moved is not None and moved[0] == target


ESCAPE = 0xD8
"""The opcodes of the x87, eight from there on; some of its instructions are of later extensions."""


def _state(decoded: Decoded, size: int, rng: random.Random) -> State | None:
    registers: dict[str, int] = {}
    near = 0
    for name in GENERAL:
        registers[name] = near = _integer(rng, near)
    if "maskmov" in decoded.insn.name:
        registers["rdi"] = MIDDLE + rng.randrange(-16, 16)
    registers |= {"rsp": MIDDLE, "rip": CODE, "rflags": 2 | rng.getrandbits(12) & FLAGS & ~DF}
    text, near = decoded.insn.template.text, 0
    if _of_vectors(decoded.insn) or decoded.insn.extension in ("sse", "avx"):
        for n in VECTORS:
            registers[f"ymm{n}"] = near = _lanes(rng, near, 256)
        registers["mxcsr"] = rng.choice(MXCSR if rng.random() < 0.85 else UNMASKED)
    if decoded.insn.extension == "fpu" or decoded.insn.pattern.match & 0x7F8 == ESCAPE:
        near = 0
        for n in range(8):
            registers[f"st{n}"] = near = _extended(rng, near)
        registers["fcw"] = rng.choice(CONTROL) & ~(
            rng.choice(UNMASKED_EARLY) if rng.random() < 0.1 else 0
        )
        registers["fsw"] = rng.getrandbits(3) << 11 | rng.choice((0, 0, 0x4700, 0x3F, 0x20))
        registers["fsw"] |= 0x8080 if registers["fsw"] & ~registers["fcw"] & 0x3F else 0
        registers["ftw"] = rng.choice((0xFF, 0xFF, 0x7F, 0xFE, rng.getrandbits(8)))
    elif MMX.search(text) or decoded.insn.extension == "mmx":
        for n in range(8):
            registers[f"st{n}"] = 0xFFFF << 64 | _lanes(rng, near, 64)
        registers |= {"fcw": INIT_FCW, "fsw": rng.choice((0, 0, 0x3800)), "ftw": 0xFF}
    if "gather" in text:
        return _gathered(decoded, registers, rng)
    if decoded.insn.extension == "strings":
        return _of_strings(registers, rng)
    if "{:Xlat}" in text:
        registers["rbx"] = DATA
    if "{:Xlat}" in text or "{:O" in text:
        return State(registers, rng.randbytes(MEMORY))
    return State(registers, rng.randbytes(MEMORY)) if _aimed(decoded, registers, rng) else None


def _of_strings(registers: dict[str, int], rng: random.Random) -> State:
    """A state in which strings of up to eight items overlap, of alike bytes, in both directions."""
    registers["rcx"] = rng.randrange(9)
    registers |= {name: MIDDLE + rng.randrange(-24, 24) for name in ("rsi", "rdi")}
    registers["rflags"] |= rng.choice((0, DF))
    registers["rax"] &= rng.choice((0, (1 << 64) - 1))
    return State(registers, bytes(rng.choices((0, 0, 0, 1), k=MEMORY)))


def _gathered(decoded: Decoded, registers: dict[str, int], rng: random.Random) -> State | None:
    """A state in which a vector of indices leads into memory."""
    fields = decoded.fields
    if fields["base"] >= len(GENERAL) or fields["index"] not in VECTORS:
        return None
    registers[GENERAL[fields["base"]]] = MIDDLE
    lane = 64 if "gatherq" in decoded.insn.name else 32
    numbers = [rng.randrange(-12, 12) & (1 << lane) - 1 for _ in range(256 // lane)]
    registers[f"ymm{fields['index']}"] = sum(number << lane * n for n, number in enumerate(numbers))
    return State(registers, rng.randbytes(MEMORY))


def _encoded(insn: Insn, rng: random.Random) -> bytes | None:
    """The bytes of an instruction with random fields; None if they are those of another one."""
    fields = _fields(insn, rng)
    if not insn.admits(fields):
        return None
    try:
        assert x86.unscan is not None
        code = x86.unscan(insn.pattern.encode(fields))
    except ValueError:
        return None
    decoded = decode(code)
    if decoded is None or decoded.insn is not insn or decoded.length != len(code):
        return None
    if "{:rel}" in insn.template.text and _leads_into_itself(decoded):
        return None
    if decoded.fields.get("base") != RIP:
        return code
    # The memory of a state, from the next instruction on.
    away = MIDDLE + 16 * rng.randrange(-2, 2) - CODE - len(code)
    return x86.unscan(insn.pattern.encode(fields | {"disp": away & 0xFFFF_FFFF}))


def _leads_into_itself(decoded: Decoded) -> bool:
    """Whether a jump leads to where other instructions stand than those that halt."""
    away = decoded.fields["high"] << 32 | decoded.fields["imm"]
    to = away - (away >> 63 << 64) + decoded.length
    return -16 < to < 32


def cases(insn: Insn, words: int, states: int) -> list[Case]:
    """``words`` encodings of an instruction, each in up to ``states`` states; always the same."""
    rng = random.Random(insn.template.text)
    made: list[Case] = []
    tried = 0
    for _ in range(words):
        code = None
        while code is None and tried < 200 * words:
            code, tried = _encoded(insn, rng), tried + 1
        decoded = decode(code) if code is not None else None
        if code is None or decoded is None:
            break
        word, text = int.from_bytes(code, "little"), decoded.text(CODE)
        found = (_state(decoded, len(code), rng) for _ in range(states))
        made += [Case(word, text, state, len(code)) for state in found if state is not None]
    return made
