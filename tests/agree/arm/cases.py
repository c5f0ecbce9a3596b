"""Cases for A64: encodings with random fields, in states with the edges of every format."""

from __future__ import annotations

import random
from functools import cache

from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.ir.access import Access
from bimetal.ir.evaluate import Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.arm import a64
from bimetal.isa.describe import Insn

from ..operands import EDGES, INTEGERS
from ..state import CODE, DATA, Case, State

__all__ = ["MEMORY", "V", "X", "cases", "decode", "instructions"]

X = tuple(f"x{n}" for n in range(8))
V = tuple(f"v{n}" for n in range(8))
MEMORY = 256
"""Bytes at `DATA`. Addresses lie in their middle, so that what is near is there too."""

decode = cache(a64.decode)
GENERAL = {"x", "w", "xsp", "wsp"}
FPCR = (
    0, 0, 0, 1 << 22, 2 << 22, 3 << 22, 1 << 25, 1 << 24, 3 << 24 | 2 << 22, 1 << 19, 1 << 19,
    1 << 19 | 3 << 24 | 1 << 22, 1 << 26, 3 << 25 | 3 << 22,
)  # fmt: skip
"""Rounding modes, default NaNs, flushing to zero, and the alternative half format."""


def instructions(*extensions: str) -> list[Insn]:
    """The instructions of some chapters."""
    return [insn for insn in a64.insns if insn.extension in extensions]


def _general(insn: Insn) -> set[str]:
    """The fields that are numbers of general-purpose registers."""
    kinds = {id(a64.kinds[name]) for name in GENERAL}
    return {name for name, kind in insn.template.operands if id(kind) in kinds}


def _fields(insn: Insn, rng: random.Random) -> dict[str, int]:
    general = _general(insn)
    while True:
        fields = {}
        for name, width in insn.pattern.widths.items():
            if name in general:
                fields[name] = rng.choice((*range(8), 31)) & insn.pattern.field_mask(name)
            elif name.startswith("R") and width in (4, 5):
                # Up to four registers from there on are looked at.
                fields[name] = rng.randrange(5 if insn.extension == "structures" else 8)
            else:
                fields[name] = rng.getrandbits(width) & insn.pattern.field_mask(name)
        if ":rel}" in insn.template.text:
            fields["imm"] = _distance(insn, fields["imm"], rng)
        if insn.admits(fields) and not _unpredictable(insn, fields):
            return fields


def _distance(insn: Insn, distance: int, rng: random.Random) -> int:
    """To the memory of a state, where it is read; a jump does not lead to itself."""
    if insn.extension == "loads_stores":
        return DATA + MEMORY // 2 - CODE + 4 * rng.randrange(-16, 16)
    return distance or 4


def _unpredictable(insn: Insn, fields: dict[str, int]) -> bool:
    """What the manual leaves open (K1.2): a register that is loaded twice, or written back as
    the base as well, or that an exclusive store's status shares."""
    moved = [fields[name] for name in ("Rt", "Rt2") if name in fields]
    general = ("v" not in insn.name and ":x}" in insn.template.text) or ":w}" in insn.template.text
    loads_twice = insn.name.startswith("ld") and len(moved) == 2 and moved[0] == moved[1]
    writes_back = insn.template.text.endswith("!") or "], {" in insn.template.text
    base = fields.get("Rn", 31)
    status = fields.get("Rs", -1) if insn.extension == "exclusives" else -1
    return (
        loads_twice
        or (writes_back and general and base != 31 and base in moved)
        or status in (*moved, base)
    )


def _integer(rng: random.Random, near: int) -> int:
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(INTEGERS)
    return near if kind < 0.6 else rng.getrandbits(64)


def _lanes(rng: random.Random, near: int) -> int:
    """A vector of numbers or integers of one width, with the edges of their format."""
    if rng.random() < 0.1:
        return near
    lane = rng.choice((8, 16, 32, 64))
    edges = {16: EDGES["h"], 32: EDGES["s"], 64: EDGES["d"]}.get(lane, INTEGERS)
    floating = rng.random() < 0.7
    value = 0
    for _ in range(128 // lane):
        pool = edges if floating else INTEGERS
        number = rng.choice(pool) if rng.random() < 0.7 else rng.getrandbits(lane)
        value = value << lane | number & ((1 << lane) - 1)
    return value


class _Probe:
    """Memory everywhere, which remembers where it was looked at."""

    def __init__(self) -> None:
        self.accesses: list[tuple[int, bool]] = []
        """Addresses, and whether they have to be aligned."""

    def load(self, address: int, access: Access) -> int:
        """See `GuestMemory`."""
        self.accesses.append((address, access.aligned))
        return 0

    def store(self, address: int, value: int, access: Access) -> None:
        """See `GuestMemory`."""
        self.accesses.append((address, access.aligned))

    def update(self, address: int, access: Access, change: object) -> int:
        """See `GuestMemory`."""
        self.accesses.append((address, access.aligned))
        return 0


def first_access(word: int, registers: dict[str, int]) -> tuple[int, bool] | None:
    """Where an instruction accesses memory first, if it does, and whether that must be aligned."""
    store, memory = Registers(a64.state), _Probe()
    for name, value in registers.items():
        if name not in ("nzcv", "fpcr", "fpsr"):
            store.write(name, value)
    store.set("el", 0, 1)
    store.set("fp_ready", 0, 1)
    decoded = decode(word)
    assert decoded is not None
    try:
        evaluate_insn(decoded, store, memory, CODE, Environment())
    except Trap:
        return None
    return memory.accesses[0] if memory.accesses else None


def _state(insn: Insn, fields: dict[str, int], word: int, rng: random.Random) -> State | None:
    registers: dict[str, int] = {}
    near = 0
    for name in X:
        registers[name] = near = _integer(rng, near)
    near = 0
    for name in V:
        registers[name] = near = _lanes(rng, near)
    registers |= {
        "sp": DATA + 16 * rng.randrange(16),
        "pc": CODE,
        "nzcv": rng.getrandbits(4) << 28,
        "fpcr": rng.choice(FPCR),
        "fpsr": rng.choice((0, 0, 1, 0x1F, 1 << 27)),
    }
    access = first_access(word, registers) if "[" in insn.template.text else None
    if access is not None and "Rn" in fields:
        address, must_be_aligned = access
        base = "sp" if fields["Rn"] == 31 else f"x{fields['Rn']}"
        aligned = must_be_aligned or rng.random() < 0.7
        target = DATA + MEMORY // 2 + (16 * rng.randrange(4) if aligned else rng.randrange(48))
        registers[base] = (registers[base] + target - address) % (1 << 64)
        moved = first_access(word, registers)
        if moved != (target, must_be_aligned) or (base == "sp" and registers[base] % 16):
            return None  # another operand is the base as well
    return State(registers, rng.randbytes(MEMORY))


def cases(insn: Insn, words: int, states: int) -> list[Case]:
    """``words`` encodings of an instruction, each in up to ``states`` states; always the same."""
    rng = random.Random(insn.template.text)
    made = []
    for _ in range(words):
        fields = _fields(insn, rng)
        word = insn.pattern.encode(fields)
        if word >> 32:
            continue  # what a jump is in guarded pages
        decoded = decode(word)
        if decoded is None or decoded.insn is not insn:
            continue  # a special case has a description of its own
        text = insn.template.show(fields, insn.pattern.widths, CODE)
        found = (_state(insn, fields, word, rng) for _ in range(states))
        made += [Case(word, text, state) for state in found if state is not None]
    return made
