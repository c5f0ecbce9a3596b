"""Guest memory through the inline TLB check, as fast handlers and regions access it."""

from __future__ import annotations

from ..ir.value import Value
from ..isa.trace import Access, Branches
from .layout import ADDENDS, LOAD_TLB, PAGE, ROW_FACTOR, ROW_SHIFT, STORE_TLB
from .lower import RARELY, USUALLY, Lowering

__all__ = ["METADATA", "TlbLowering"]

# Guest memory and TLBs never overlap: lets LLVM keep a TLB entry over guest stores.
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


class TlbLowering(Lowering):
    """Accesses that hit the data TLB; `leave_it` says where all others are done."""

    def leave_it(self) -> str:
        """A label whose code hands the instruction, untouched, to whoever can do all of it."""
        raise NotImplementedError

    def op_if(self, value: Value) -> None:
        branches = value.attr
        assert isinstance(branches, Branches)
        if not branches.cold:
            super().op_if(value)
            return
        go = self.fresh("go")
        self.branch(self.operand(value.args[0]), self.leave_it(), go, RARELY)
        self.label(go)
        self.block(branches.otherwise)

    def guest_pointer(self, address: Value, access: Access, write: bool) -> str:
        """A host pointer for an access whose page is in the TLB.

        What is compared with the tag are the page and the low bits of the address, which no tag
        has: misaligned accesses miss, the ones that cross a page among them. So the same value
        gives the row, and all in all it is an instruction less for the many that are aligned.
        """
        va = self.operand(address)
        wanted = self.let(f"and i64 {va}, {-PAGE | (access.width // 8 - 1)}")
        low = self.let(f"trunc i64 {wanted} to i32")
        mixed = self.let(f"mul i32 {low}, {ROW_FACTOR}")
        row = self.let(f"zext i32 {self.let(f'lshr i32 {mixed}, {ROW_SHIFT}')} to i64")
        tags = self.pointer("%tlb", STORE_TLB if write else LOAD_TLB)
        entry = self.let(f"getelementptr i64, ptr {tags}, i64 {row}")
        tag = self.let(f"load i64, ptr {entry}, {_TLB}")
        hit = self.let(f"icmp eq i64 {tag}, {wanted}")
        found = self.fresh("found")
        self.branch(hit, found, self.leave_it(), USUALLY)
        self.label(found)
        addend = self.let(f"load i64, ptr {self.pointer(entry, ADDENDS)}, {_TLB}")
        return self.let(f"inttoptr i64 {self.let(f'add i64 {va}, {addend}')} to ptr")

    @property
    def _volatile(self) -> str:
        """What keeps LLVM from merging and moving accesses to shared memory.

        A guest orders its accesses by dependencies that LLVM sees through: a word that is read,
        then a flag, then the word again, at an address made of the flag, has to be read twice.
        """
        return "volatile " if self.layout.shared else ""

    def op_load(self, value: Value) -> None:
        access = value.attr
        assert isinstance(access, Access)
        pointer = self.guest_pointer(value.args[0], access, write=False)
        kind = f"{self._volatile}i{value.width}"
        self.names[value] = self.let(f"load {kind}, ptr {pointer}, align 1, {_GUEST}")

    def op_store(self, value: Value) -> None:
        access = value.attr
        assert isinstance(access, Access)
        name = self.operand(value.args[1])
        pointer = self.guest_pointer(value.args[0], access, write=True)
        kind = f"{self._volatile}i{access.width}"
        self.put(f"store {kind} {name}, ptr {pointer}, align 1, {_GUEST}")

    def op_amo(self, value: Value) -> None:
        access, operation = self.amo_of(value)
        pointer = self.guest_pointer(value.args[0], access, write=True)
        self.names[value] = self.atomic_update(pointer, value, operation)

    def op_cas(self, value: Value) -> None:
        access = value.attr
        assert isinstance(access, Access)
        pointer = self.guest_pointer(value.args[0], access, write=True)
        self.names[value] = self.compare_and_swap(pointer, value)
