"""What the order of accesses costs on an x86-64 host: see Intel SDM 3A, 9.2.

It lets loads pass earlier stores, and nothing else. So a full barrier is a locked instruction, and
all weaker ones are nothing but a limit to what the compiler may move.
"""

from __future__ import annotations

import platform
import re

import pytest

from bimetal.codegen.discover import Code, discover
from bimetal.codegen.handler import handler_text
from bimetal.codegen.layout import PAGE, Layout
from bimetal.codegen.native import assembly
from bimetal.codegen.region import Region, region_text
from bimetal.codegen.ways_out import STUBS, stub_name
from bimetal.isa.arm import a64
from bimetal.isa.decoding import Decoding
from bimetal.isa.describe import Isa
from bimetal.isa.riscv import rv64
from tests.sketches.ppc.architecture import architecture

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="other hosts have other costs"
)

ppc = architecture.isa
FENCE = re.compile(r"\bmfence\b|\block\s+orl\s+\$0, -?\d*\(%rsp\)")
LOCKED = re.compile(r"\block\b(?!\s+orl\s+\$0, -?\d*\(%rsp\))|\bxchg[bwlq]\s.*\(")


def order_of(isa: Isa, line: str, *, shared: bool = True) -> tuple[int, int]:
    """How many full fences and other locked instructions the host has for an instruction."""
    page = isa.assemble(line).ljust(PAGE, b"\0")
    steps = discover(Code(isa, page, Decoding()), [0], lambda offset: True, 1)
    assert set(steps) == {0}
    stubs = [stub_name(isa, stub) for stub in STUBS]
    text = region_text(Layout.of(isa, shared), "region", Region(steps, (0,), True, False), stubs)
    host = assembly(text, quick=True)
    return len(FENCE.findall(host)), len(LOCKED.findall(host))


NOTHING, FULL, ATOMIC = (0, 0), (1, 0), (0, 1)
COSTS = {
    rv64: {
        "ld a0, 0(a1)": NOTHING,
        "sd a0, 0(a1)": NOTHING,
        "fence r, rw": NOTHING,
        "fence rw, w": NOTHING,
        "fence w, w": NOTHING,
        "fence r, r": NOTHING,
        "fence.tso": NOTHING,
        "fence io, io": FULL,
        "fence w, r": FULL,
        "fence o, i": FULL,
        "fence rw, rw": FULL,
        "fence iorw, iorw": FULL,
        "lr.w a0, (a1)": NOTHING,
        "lr.d.aqrl a0, (a1)": NOTHING,
        "sc.w.rl a0, a2, (a1)": ATOMIC,
        "sc.d.aqrl a0, a2, (a1)": ATOMIC,
        "amoadd.w a0, a2, (a1)": ATOMIC,
        "amoadd.d.aqrl a0, a2, (a1)": ATOMIC,
        "amoswap.w.rl a0, a2, (a1)": ATOMIC,
        "amomaxu.d.aq a0, a2, (a1)": ATOMIC,
    },
    a64: {
        "ldr x0, [x1, 0]": NOTHING,
        "str x0, [x1, 0]": NOTHING,
        "ldar x0, [x1]": NOTHING,
        "ldarb w0, [x1]": NOTHING,
        "ldlar w0, [x1]": NOTHING,
        "ldapr x0, [x1]": NOTHING,
        "ldapurh w0, [x1, 2]": NOTHING,
        "ldaxr x0, [x1]": NOTHING,
        "ldaxp x0, x2, [x1]": NOTHING,
        "ldaxp w0, w2, [x1]": NOTHING,
        # LDAR may not pass it, and this is the cheaper side of the two.
        "stlr x0, [x1]": ATOMIC,
        "stlrb w0, [x1]": ATOMIC,
        "stlur x0, [x1, 8]": ATOMIC,
        "stlxr w0, x2, [x1]": ATOMIC,
        "stlxp w0, x2, x3, [x1]": ATOMIC,
        "ldaddal x0, x2, [x1]": ATOMIC,
        "swpal x0, x2, [x1]": ATOMIC,
        "casal w0, w2, [x1]": ATOMIC,
        "caspal x0, x1, x2, x3, [x4]": ATOMIC,
        "dmb 9": NOTHING,  # ishld
        "dmb 10": NOTHING,  # ishst
        "dmb 13": NOTHING,  # ld
        "dmb 14": NOTHING,  # st
        "dmb 11": FULL,  # ish
        "dmb 15": FULL,  # sy
        "dsb 9": NOTHING,
        "dsb 10": FULL,  # no load goes before it
        "dsb 15": FULL,
    },
    ppc: {
        "lwarx r3, 0, r4, 0": NOTHING,
        "stdcx. r3, 0, r4": ATOMIC,
        "ldat r3, r6, 1": ATOMIC,
        "sync 0": FULL,
        "sync 1": NOTHING,
        "sync 2": FULL,
    },
}


@pytest.mark.parametrize(
    ("isa", "line", "cost"),
    [(isa, line, cost) for isa, lines in COSTS.items() for line, cost in lines.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_order_costs_no_more_than_it_has_to(isa: Isa, line: str, cost: tuple[int, int]) -> None:
    assert order_of(isa, line) == cost


@pytest.mark.parametrize(
    ("line", "cost"),
    [
        ("stlr x0, [x1]", NOTHING),
        ("ldaddal x0, x2, [x1]", NOTHING),
        ("stxr w0, x2, [x1]", NOTHING),
        ("dmb 15", FULL),  # for devices, which work on memory at the same time
    ],
)
def test_on_one_vcpu_only_barriers_order(line: str, cost: tuple[int, int]) -> None:
    assert order_of(a64, line, shared=False) == cost


@pytest.mark.parametrize(
    ("name", "fences"), [("ldar", 0), ("ldapr", 0), ("ldaxr", 0), ("ldaxp", 0), ("stlr", 1)]
)
def test_slow_forms_pay_for_stores_alone(name: str, fences: int) -> None:
    insn = next(insn for insn in a64.insns if insn.name == name)
    (block,) = insn.variants().values()
    text, _, _ = handler_text(Layout.of(a64), "it", insn, block, near=False)
    assert text.count("fence seq_cst") == fences
