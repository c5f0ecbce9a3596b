"""Going from record to record: what handlers and the stubs between them share.

All native code between two polls has one signature, `PARAMETERS`, and ends in a tail call.
"""

from __future__ import annotations

from .layout import ENTRY, FETCH_ENTRIES, FETCH_TLB, PAGE
from .lower import Lowering

__all__ = ["ARGUMENTS", "CC", "PARAMETERS", "FlowLowering"]

CC = "preserve_nonecc"
PARAMETERS = "ptr %st, ptr %rec, i64 %pcb, i64 %budget, ptr %tlb"
ARGUMENTS = "ptr %st, ptr {rec}, i64 {pcb}, i64 {budget}, ptr {tlb}"


class FlowLowering(Lowering):
    """Tail calls, the program counter of a record, and the fetch TLB."""

    @property
    def shift(self) -> int:
        """log2 of the bytes of records for a byte of code."""
        return self.layout.scale.bit_length() - 1

    def here(self) -> str:
        """The address that the record in hand stands for."""
        number = self.let("ptrtoint ptr %rec to i64")
        down = self.let(f"lshr i64 {number}, {self.shift}")
        return self.let(f"add i64 {down}, %pcb")

    def tail(
        self,
        target: str,
        rec: str = "%rec",
        pcb: str = "%pcb",
        budget: str = "%budget",
        tlb: str = "%tlb",
    ) -> None:
        """End with a tail call."""
        arguments = ARGUMENTS.format(rec=rec, pcb=pcb, budget=budget, tlb=tlb)
        self.put(f"musttail call {CC} void {target}({arguments})")
        self.end("ret void")

    def dispatch(
        self, rec: str, pcb: str = "%pcb", budget: str = "%budget", tlb: str = "%tlb"
    ) -> None:
        """Go to the handler of a record."""
        self.tail(self.let(f"load ptr, ptr {rec}"), rec, pcb, budget, tlb)

    def lookup(self, pc: str, tlb: str = "%tlb") -> tuple[str, str]:
        """The fetch TLB's entry for an address, and whether it is the right one."""
        number = self.let(f"lshr i64 {pc}, 12")
        row = self.let(f"and i64 {number}, {FETCH_ENTRIES - 1}")
        offset = self.let(f"mul i64 {row}, {ENTRY}")
        entry = self.pointer(self.pointer(tlb, FETCH_TLB), offset)
        tag = self.let(f"load i64, ptr {entry}")
        page = self.let(f"and i64 {pc}, {-PAGE}")
        return entry, self.let(f"icmp eq i64 {tag}, {page}")

    def found(self, pc: str, entry: str) -> tuple[str, str]:
        """Record and bias of an address whose fetch entry is known."""
        pcb = self.let(f"load i64, ptr {self.pointer(entry, 8)}")
        above = self.let(f"sub i64 {pc}, {pcb}")
        number = self.let(f"shl i64 {above}, {self.shift}")
        return self.let(f"inttoptr i64 {number} to ptr"), pcb

    def stopped(self) -> None:
        self.tail("@pending")
