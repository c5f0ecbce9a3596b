"""Guest memory through an inline TLB lookup, as fast handlers and regions access it."""

from __future__ import annotations

from functools import cached_property

from ..ir import effects
from ..ir.access import Access, Order
from ..ir.value import Block, Value
from ..isa.contract import STRICT
from .emit import RARELY, USUALLY, Emitter
from .layout import ADDENDS, LOAD_TLB, PAGE, ROW_FACTOR, ROW_SHIFT, STORE_TLB
from .lower import Lowering

__all__ = ["METADATA", "TlbLowering", "has_tag", "needs_alignment", "row_of"]

# Guest memory and TLBs never overlap, so LLVM may keep a TLB entry across guest stores.
_GUEST, _TLB = "!alias.scope !4, !noalias !5", "!alias.scope !5, !noalias !4"

METADATA = """
!0 = !{!"branch_weights", i32 1, i32 100000}
!1 = !{!"branch_weights", i32 100000, i32 1}
!2 = distinct !{!2}
!3 = distinct !{!3, !2}
!4 = !{!3}
!6 = distinct !{!6, !2}
!5 = !{!6}
"""


Plain = effects.Load | effects.Store


def needs_alignment(access: Access) -> bool:
    """Whether the fast forms do no misaligned access of this kind."""
    return access.aligned or access.order is not Order.PLAIN


def row_of(g: Emitter, page: str) -> str:
    """The number of the row for a page."""
    mixed = g.let(f"mul i32 {g.let(f'trunc i64 {page} to i32')}, {ROW_FACTOR}")
    return g.let(f"zext i32 {g.let(f'lshr i32 {mixed}, {ROW_SHIFT}')} to i64")


def has_tag(g: Emitter, tags: str, row: str, tag: str) -> str:
    """Whether a row's tag is ``tag``."""
    entry = g.let(f"getelementptr i64, ptr {tags}, i64 {row}")
    return g.let(f"icmp eq i64 {g.let(f'load i64, ptr {entry}, {_TLB}')}, {tag}")


def rows_of(block: Block) -> list[tuple[Plain, ...]]:
    """Loads, or stores, of places in a row, with nothing between them but arithmetic: as
    instructions do that move several registers."""
    rows: list[list[Plain]] = []
    open_row = False
    for value in block:
        if isinstance(value, Plain):
            if open_row and _continues(rows[-1], value):
                rows[-1].append(value)
            else:
                rows.append([value])
            open_row = value.access.order is Order.PLAIN and not value.access.aligned
        elif isinstance(value, effects.Effect):
            open_row = False
    return [tuple(row) for row in rows if len(row) > 1]


def _continues(row: list[Plain], value: Plain) -> bool:
    """Whether an access is of the place behind a row, and of its kind."""
    first, address = row[0], value.address
    alike = type(first) is type(value) and first.access == value.access
    behind = address.op == "add" and address.args[0] is first.address and address.args[1].known
    return alike and behind and int(address.args[1]) == len(row) * value.access.size


class TlbLowering(Lowering):
    """Lowers accesses that hit the data TLB; all others go to `leave_it`."""

    @property
    def by_last_byte(self) -> bool:
        """Whether accesses that need not be aligned are looked up by the page of their last byte,
        so that none is checked for alignment: not to be executed while `STRICT` is set."""
        return False

    @cached_property
    def _rows(self) -> dict[Plain, tuple[Plain, ...]]:
        """Rows that have not been looked up yet, by their first access."""
        return {}

    @cached_property
    def _located(self) -> dict[Plain, str]:
        """Host pointers of accesses that have been looked up, and not been done yet."""
        return {}

    def leave_it(self) -> str:
        """A label whose code leaves the instruction, before it has changed anything, to the slow
        form or the interpreter."""
        raise NotImplementedError

    def op_if(self, value: effects.If) -> None:
        branches = value.branches
        if not branches.cold:
            super().op_if(value)
            return
        go = self.fresh("go")
        self.branch(self.operand(value.condition), self.leave_it(), go, RARELY)
        self.label(go)
        self.block(branches.otherwise)

    def block(self, block: Block) -> None:
        self._rows |= {row[0]: row for row in rows_of(block)}
        super().block(block)

    def plain_pointer(self, value: Plain) -> str:
        """A host pointer for a load or store. Those of a row are looked up together, before any of
        them is done."""
        if value not in self._located:
            row = self._rows.pop(value, (value,))
            size, write = value.access.size, isinstance(value, effects.Store)
            first = self.guest_pointer(value.address, value.access, write, len(row))
            for n, other in enumerate(row):
                self._located[other] = self.pointer(first, n * size)
        return self._located.pop(value)

    def guest_pointer(self, address: Value, access: Access, write: bool, count: int = 1) -> str:
        """A host pointer for an access whose page is in the TLB, or for ``count`` of them in a row.

        The tag is compared with the page and the low bits of the address. Tags have zeros there, so
        misaligned accesses miss, including those that cross a page. The same value selects the row,
        which saves two instructions for the many aligned accesses. Misaligned ones are looked up
        again by code after the end of the function. For a row it is the page of the last one that
        is compared, with the row of the first one's page: neighbours never have the same row. So it
        is for single accesses where misaligned ones are to be as fast (`by_last_byte`).
        """
        va = self.operand(address)
        tlb = self.user_tlb() if access.unprivileged else "%tlb"
        tags = self.pointer(tlb, STORE_TLB if write else LOAD_TLB)
        low_bits = 0 if access.in_page else access.size - 1
        behind = (count - 1) * access.size
        if self.by_last_byte and not needs_alignment(access):
            behind, low_bits = behind + low_bits, 0
        if not behind:
            wanted = page = self.let(f"and i64 {va}, {-PAGE | low_bits}")
        else:
            last = self.let(f"add i64 {va}, {behind}")
            wanted = self.let(f"and i64 {last}, {-PAGE | low_bits}")
            page = self.let(f"and i64 {va}, {-PAGE}")
        row = row_of(self, page)
        hit, found, at = has_tag(self, tags, row, wanted), self.fresh("found"), self.at
        if again := self.look_again(va, tags, access, write, count, found):
            other, missed = again
            self.branch(hit, found, missed, USUALLY)
            self.label(found)
            row = self.let(f"phi i64 [ {row}, {at} ], [ {other}, {missed} ]")
        else:
            self.branch(hit, found, self.leave_it(), USUALLY)
            self.label(found)
        entry = self.let(f"getelementptr i64, ptr {tags}, i64 {row}")
        addend = self.let(f"load i64, ptr {self.pointer(entry, ADDENDS)}, {_TLB}")
        return self.let(f"inttoptr i64 {self.let(f'add i64 {va}, {addend}')} to ptr")

    def look_again(
        self, va: str, tags: str, access: Access, write: bool, count: int, found: str
    ) -> tuple[str, str] | None:
        """The row of an access that has missed, and the label of the code that looks it up and
        continues at ``found``; None if there is none to be had. These are misaligned accesses
        within one page. While alignment may have to be checked, all of them are left to the slow
        form: see `Hooks.unaligned`."""
        if access.in_page or access.size == 1 or needs_alignment(access):
            return None
        size, row = count * access.size, ""

        def look() -> None:
            nonlocal row
            page = self.let(f"and i64 {va}, {-PAGE}")
            last = self.let(f"and i64 {self.let(f'add i64 {va}, {size - 1}')}, {-PAGE}")
            if STRICT in self.layout.offsets:
                strict = self.let(f"zext i8 {self.load_state(STRICT, 'i8')} to i64")
                last = self.let(f"or i64 {last}, {strict}")
            row = row_of(self, page)
            self.branch(has_tag(self, tags, row, last), found, self.leave_it(), USUALLY)

        label = self.aside(look)
        return row, label

    def user_tlb(self) -> str:
        """The TLB for accesses with the rights of user mode."""
        return self.let(f"inttoptr i64 {self.load_state('user_tlb')} to ptr")

    def op_load(self, value: effects.Load) -> None:
        pointer = self.plain_pointer(value)
        self.names[value] = self.load_at(pointer, value.access, f", {_GUEST}")

    def op_store(self, value: effects.Store) -> None:
        pointer = self.plain_pointer(value)
        self.store_at(pointer, self.operand(value.new), value.access, f", {_GUEST}")

    def op_amo(self, value: effects.Amo) -> None:
        pointer = self.guest_pointer(value.address, value.access, write=True)
        self.names[value] = self.amo_at(pointer, value)

    def op_cas(self, value: effects.Cas) -> None:
        pointer = self.guest_pointer(value.address, value.access, write=True)
        self.names[value] = self.cas_at(pointer, value)
