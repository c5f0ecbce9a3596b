"""The stub that regions call when an access has missed the data TLB.

It enters the page into the TLB, if that is possible without a trap and without the board, so that
the region goes on: to leave it, and to interpret until the next place where one is entered, costs
several times as much. Everything else is left to the interpreter, which finds all as it was before
the instruction.
"""

from __future__ import annotations

from ..ir.access import Access
from ..isa.contract import LOAD, STORE, STRICT, UNPRIVILEGED
from .emit import USUALLY
from .flow import StubLowering
from .layout import LOAD_TLB, PAGE, STORE_TLB, Layout
from .tlb import has_tag, needs_alignment, row_of

__all__ = ["REACH_CC", "asked", "reach_text"]

REACH_CC = "preserve_mostcc"

# What is asked: bytes in all, the mask of the low bits of an aligned address, the kind of access,
# and 1 if it has to be aligned, a byte each; and the instruction's offset in its page.
_BYTES, _LOW, _KIND, _ALIGNED, _OFFSET = 0, 8, 16, 24, 32


def asked(access: Access, write: bool, count: int, offset: int) -> int:
    """What a region asks for: ``count`` accesses of this kind in a row by an instruction."""
    size = 1 if access.in_page else access.size
    kind = (STORE if write else LOAD) | (UNPRIVILEGED if access.unprivileged else 0)
    parts = {
        _BYTES: count * access.size,
        _LOW: size - 1,
        _KIND: kind,
        _ALIGNED: needs_alignment(access),
    }
    assert all(part < 256 for part in parts.values()), parts
    return sum(part << at for at, part in parts.items()) | offset << _OFFSET


def reach_text(layout: Layout) -> str:
    """``reach``: the row of the data TLB for an access that missed, by its address and what was
    `asked`, or -1. Misaligned accesses within a page miss too; as long as alignment may have to
    be checked, they are left to the slow form (`Hooks.unaligned`)."""
    g = StubLowering(layout)
    page = g.let(f"and i64 %va, {-PAGE}")
    size, low, kind, aligned = (_part(g, at) for at in (_BYTES, _LOW, _KIND, _ALIGNED))
    behind = g.let(f"add i64 %va, {g.let(f'sub i64 {size}, 1')}")
    same = g.let(f"icmp eq i64 {g.let(f'and i64 {behind}, {-PAGE}')}, {page}")
    if STRICT in layout.offsets:
        strict = g.let(f"zext i8 {g.load_state(STRICT, 'i8')} to i64")
        aligned = g.let(f"or i64 {aligned}, {strict}")
    may_not = g.let(f"icmp ne i64 {aligned}, 0")
    low = g.let(f"select i1 {may_not}, i64 {low}, i64 0")
    fits = g.let(f"icmp eq i64 {g.let(f'and i64 %va, {low}')}, 0")
    g.branch(g.let(f"and i1 {same}, {fits}"), "%look", "%none", USUALLY)
    g.label("%look")
    _note_misaligned(g)
    user = g.let(f"icmp ne i64 {g.let(f'and i64 {kind}, {UNPRIVILEGED}')}, 0")
    own, other = g.load_state("tlb_base"), g.load_state("user_tlb")
    tlb = g.let(f"select i1 {user}, i64 {other}, i64 {own}")
    stores = g.let(f"icmp ne i64 {g.let(f'and i64 {kind}, {STORE}')}, 0")
    part = g.let(f"select i1 {stores}, i64 {STORE_TLB}, i64 {LOAD_TLB}")
    tags = g.let(f"inttoptr i64 {g.let(f'add i64 {tlb}, {part}')} to ptr")
    row = row_of(g, page)
    g.branch(has_tag(g, tags, row, page), "%found", "%fill", USUALLY)
    g.label("%fill")
    g.call("rt_locate", 64, [("i64", "%va"), ("i8", g.narrow(kind, "i64", 8))])
    pending = g.let(f"icmp ne i64 {g.load_state('pending')}, 0")
    g.store_state("pending", "0")  # the instruction is executed again, and meets the trap then
    found = g.let(f"select i1 {pending}, i64 -1, i64 {row}")
    filled = has_tag(g, tags, row, page)
    if STRICT in layout.offsets:
        # The region that calls looks at alignment no more if it began without having to.
        free = g.let(f"icmp eq i8 {g.load_state(STRICT, 'i8')}, 0")
        filled = g.let(f"and i1 {filled}, {free}")
    g.end(f"ret i64 {g.let(f'select i1 {filled}, i64 {found}, i64 -1')}")
    g.label("%found")
    g.end(f"ret i64 {row}")
    g.label("%none")
    g.end("ret i64 -1")
    body = "\n".join(["entry:", *g.lines])
    head = f"define {REACH_CC} i64 @reach(ptr %st, i64 %va, i64 %what) #1"
    return f"{head} {{\n{body}\n}}\n"


def _note_misaligned(g: StubLowering) -> None:
    """Note that an instruction's accesses may be misaligned: when its region is optimised, they
    are looked up otherwise (`TlbLowering.by_last_byte`)."""
    past = g.let(f"and i64 %va, {_part(g, _LOW)}")
    misaligned = g.let(f"zext i1 {g.let(f'icmp ne i64 {past}, 0')} to i8")
    offset = g.let(f"lshr i64 %what, {_OFFSET}")
    noted = g.pointer(g.state_pointer("misaligned"), offset)
    known = g.let(f"load i8, ptr {noted}")
    g.put(f"store i8 {g.let(f'or i8 {known}, {misaligned}')}, ptr {noted}")


def _part(g: StubLowering, at: int) -> str:
    """A byte of what is asked."""
    return g.let(f"and i64 {g.let(f'lshr i64 %what, {at}')}, 255")
