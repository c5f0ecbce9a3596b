"""Instructions that access several places in a row, at the border of two pages that follow each
other for the guest alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.codegen.tlb import rows_of
from bimetal.isa.arm.architecture import architecture
from tests.isa.arm_machine import BASE, ENGINES, Run

a64 = architecture.isa
PAGE = 0x1000
LEVEL_1, LEVEL_2, LEVEL_3, FIRST, SECOND, SEEN = (BASE + n * PAGE for n in (1, 2, 3, 9, 6, 12))
VIRTUAL = 0x10_0000
VECTORS = BASE + 0x800
TABLE, VALID, BLOCK = 3, 0x703, 0x701  # descriptors: accessed, shareable
CONTENT = bytes(n * 7 % 251 for n in range(2 * PAGE))
BORDER = VIRTUAL + PAGE
OFFSETS = range(-36, 4)
STATE = {
    "ttbr0_el1": LEVEL_1, "tcr_el1": 25 | 1 << 23, "mair_el1": 0xFF, "sctlr_el1": 0x30D0_0801,
    "vbar_el1": VECTORS, "cpacr_el1": 3 << 20, "esr_el1": 0, "far_el1": 0,
}  # fmt: skip


class Paged:
    """A vCPU at EL1 with two pages at `VIRTUAL`, and RAM where it is."""

    def __init__(self, engine: str):
        self._machine = Run(engine, b"")

    def close(self) -> None:
        self._machine.close()

    def _put(self, address: int, data: bytes) -> None:
        self._machine.memory(address, len(data))[:] = data

    def map(self, second: bool) -> None:
        """Map both pages, or the first one alone."""
        index = VIRTUAL // PAGE
        for table, number, descriptor in (
            (LEVEL_1, 0, LEVEL_2 | TABLE), (LEVEL_1, 1, BASE | BLOCK),
            (LEVEL_2, 0, LEVEL_3 | TABLE), (LEVEL_3, index, FIRST | VALID),
            (LEVEL_3, index + 1, SECOND | VALID if second else 0),
        ):  # fmt: skip
            self._put(table + 8 * number, descriptor.to_bytes(8, "little"))
        self._put(FIRST, CONTENT[:PAGE])
        self._put(SECOND, CONTENT[PAGE:])

    def run(self, *lines: str, **registers: int) -> None:
        """Run these lines for x0 from its value to that of x8, or to a trap."""
        lines = (*lines, "add x0, x0, #1", "subs xzr, x0, x8", f"b.ne {BASE:#x}", "wfi")
        code = b"".join(a64.assemble(line, BASE + 4 * n) for n, line in enumerate(lines))
        self._put(BASE, code)
        self._put(VECTORS + 0x200, a64.assemble("wfi"))
        self._machine.until_halt(**STATE, **registers)

    def register(self, name: str) -> int:
        return self._machine.cpu.read_register(name)

    def seen(self, size: int) -> bytes:
        """What has been stored from `SEEN` on."""
        return bytes(self._machine.memory(SEEN, size))

    @property
    def data(self) -> bytes:
        """Both pages as the guest sees them."""
        return bytes(self._machine.memory(FIRST, PAGE)) + bytes(self._machine.memory(SECOND, PAGE))


@pytest.fixture(params=ENGINES)
def paged(request: pytest.FixtureRequest) -> Iterator[Paged]:
    machine = Paged(request.param)
    yield machine
    machine.close()


RANGE = {"x0": BORDER + OFFSETS.start, "x8": BORDER + OFFSETS.stop, "x9": SEEN}
KINDS = {"w": 4, "x": 8, "q": 16}


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_at_each_place(kind: str, paged: Paged) -> None:
    size = 2 * KINDS[kind]
    paged.map(second=True)
    load, store = f"ldp {kind}1, {kind}2, [x0, #0]", f"stp {kind}1, {kind}2, [x9], #{size}"
    paged.run(load, store, **RANGE)
    seen = paged.seen(size * len(OFFSETS))
    for n, offset in enumerate(OFFSETS):
        assert seen[size * n :][:size] == CONTENT[PAGE + offset :][:size], f"{offset}"
    first, second = 0x1122_3344_5566_7788, 0x99AA_BBCC_DDEE_FF00
    half = size // 2
    paged.run(store.replace("[x9]", "[x0]").replace(f"#{size}", "#0"), **RANGE,
              x1=first, x2=second, v1=first, v2=second)  # fmt: skip
    expected = bytearray(CONTENT)
    for offset in OFFSETS:
        for n, value in enumerate((first, second)):
            at = PAGE + offset + n * half
            expected[at : at + half] = value.to_bytes(16, "little")[:half]
    assert paged.data == bytes(expected)


def test_four_registers_at_each_place(paged: Paged) -> None:
    paged.map(second=True)
    paged.run("ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0]",
              "st1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x9], #64", **RANGE)  # fmt: skip
    seen = paged.seen(64 * len(OFFSETS))
    for n, offset in enumerate(OFFSETS):
        assert seen[64 * n :][:64] == CONTENT[PAGE + offset :][:64], f"{offset}"


@pytest.mark.parametrize("line", ["ldp x1, x2, [x0, #0]", "stp x1, x2, [x0, #0]"])
def test_the_part_in_a_page_that_is_not_there_faults(line: str, paged: Paged) -> None:
    paged.map(second=False)
    paged.run(line, **RANGE)
    assert paged.register("x0") == BORDER - 15
    assert paged.register("far_el1") == BORDER


def test_what_is_a_row() -> None:
    def rows(text: str) -> list[int]:
        decoded = a64.decode(int.from_bytes(a64.assemble(text), "little"))
        assert decoded is not None
        return [len(row) for row in rows_of(decoded.insn.trace(decoded.fields))]

    assert rows("ldp x1, x2, [x0, #16]") == [2]
    assert rows("stp q1, q2, [x0], #32") == [2]
    assert rows("ldr x1, [x0, #0]") == []
