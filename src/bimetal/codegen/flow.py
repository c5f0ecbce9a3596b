"""Going from record to record: what handlers and stubs share.

All native code between two polls has the signature `PARAMETERS` and ends in a tail call: ``st`` is
the vCPU's state, ``rec`` the record being executed ("in hand"), ``pcb`` the bias between a record's
address and the program counter, ``budget`` the instructions left, ``tlb`` the current TLBs.
"""

from __future__ import annotations

from .layout import ENTRY, FETCH_ENTRIES, FETCH_TLB, GUARDED_TAG, PAGE, PAGE_RECORDS
from .lower import Lowering

__all__ = ["ARGUMENTS", "CC", "PARAMETERS", "FlowLowering", "StubLowering"]

CC = "preserve_nonecc"
PARAMETERS = "ptr %st, ptr %rec, i64 %pcb, i64 %budget, ptr %tlb"
ARGUMENTS = "ptr %st, ptr {rec}, i64 {pcb}, i64 {budget}, ptr {tlb}"


class FlowLowering(Lowering):
    """Lowers tail calls, program counters of records, and lookups in the fetch TLB."""

    @property
    def shift(self) -> int:
        """log2 of `Layout.scale`, the bytes of records for each byte of code."""
        return self.layout.scale.bit_length() - 1

    @property
    def in_hand(self) -> str:
        """The record in hand."""
        return "%rec"

    def here(self) -> str:
        """The guest address of the record in hand."""
        return self.address_of(self.in_hand)

    def wrapped(self, pc: str) -> str:
        """The address after an instruction, wrapped to the decode mode's program counter."""
        if all(mode.pc_bits == 64 for mode in self.layout.isa.modes):
            return pc
        return self.let(f"and i64 {pc}, {self.load_state('pc_mask')}")

    def address_of(self, record: str) -> str:
        """The guest address of a record in the same page as the one in hand."""
        number = self.let(f"ptrtoint ptr {record} to i64")
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

    def lookup(self, pc: str, tlb: str = "%tlb", guarded: bool | None = False) -> tuple[str, str]:
        """The fetch TLB's entry for an address, and whether it hits: as an unguarded page, as a
        guarded one if ``guarded``, or as either if that is None.

        The comparison includes the low bits that must be zero in an instruction's address. Tags
        have zeros there, so a misaligned address, which has no record, never hits.
        """
        number = self.let(f"lshr i64 {pc}, 12")
        row = self.let(f"and i64 {number}, {FETCH_ENTRIES - 1}")
        offset = self.let(f"mul i64 {row}, {ENTRY}")
        entry = self.pointer(self.pointer(tlb, FETCH_TLB), offset)
        tag = self.let(f"load i64, ptr {entry}")
        if guarded is None and self.layout.isa.landing is not None:
            tag = self.let(f"and i64 {tag}, {~GUARDED_TAG}")
        page = self.let(f"and i64 {pc}, {-PAGE | self.layout.isa.granule - 1}")
        if guarded:
            page = self.let(f"or i64 {page}, {GUARDED_TAG}")
        return entry, self.let(f"icmp eq i64 {tag}, {page}")

    def or_guarded(self, pc: str, found: str) -> None:
        """After a miss: go to ``found`` if ``pc`` is in a guarded page that the fetch TLB has."""
        if self.layout.isa.landing is not None:
            _, hit = self.lookup(pc, guarded=True)
            lost = self.fresh("lost")
            self.branch(hit, found, lost)
            self.label(lost)

    def found(self, pc: str, entry: str) -> tuple[str, str]:
        """The record and the bias of an address whose fetch entry is known."""
        pcb = self.let(f"load i64, ptr {self.pointer(entry, 8)}")
        above = self.let(f"sub i64 {pc}, {pcb}")
        number = self.let(f"shl i64 {above}, {self.shift}")
        return self.let(f"inttoptr i64 {number} to ptr"), pcb

    def stopped(self) -> None:
        self.tail("@pending")


class StubLowering(FlowLowering):
    """Writes one stub."""

    def arrive(self, pc: str, entry: str, budget: str, tlb: str) -> None:
        """Continue at an address whose fetch entry is known."""
        rec, pcb = self.found(pc, entry)
        self.dispatch(rec, pcb, budget, tlb)

    def land(self, pc: str) -> None:
        """Call the ISA's hook `Hooks.landed` if an indirect jump has led to ``pc``, whose page is
        in the fetch TLB."""
        landing = self.layout.isa.landing
        if landing is None:
            return
        asked, guarded, on = self.fresh("asked"), self.fresh("guarded"), self.fresh("on")
        plain = self.fresh("plain")
        kind = self.load_state(landing.register, "i8")
        self.branch(self.let(f"icmp eq i8 {kind}, 0"), on, asked)
        self.label(asked)
        entry, is_guarded = self.lookup(pc, guarded=True)
        self.branch(is_guarded, guarded, plain)
        self.label(plain)
        self.store_state(landing.register, "0", "i8")
        self.end(f"br label {on}")
        self.label(guarded)
        rec, _ = self.found(pc, entry)
        offset = self.let(f"and i64 {pc}, {PAGE - 1}")
        code = self.let(
            f"load i{8 * self.layout.isa.fetch}, ptr {self.copied(rec, offset)}, align 1"
        )
        self.call("rt_landed", 0, [("i64", self.widen(code, "i64", 8 * self.layout.isa.fetch))])
        self.check_pending()
        self.end(f"br label {on}")
        self.label(on)

    def header(self, rec: str, offset: str, part: int) -> str:
        """Pointer to a part of the head of a record's page; ``offset`` is where its code is in the
        page."""
        first = self.pointer(rec, self.let(f"mul i64 {offset}, {-self.layout.scale}"))
        return self.pointer(first, part - PAGE_RECORDS)

    def copied(self, rec: str, offset: str) -> str:
        """Pointer to a record's first byte in the decoded page's copy of the code; ``offset`` is
        that byte's offset in the page."""
        # The copy lies before the records, of which a byte of code has `scale` bytes.
        down = self.let(f"mul i64 {offset}, {1 - self.layout.scale}")
        return self.pointer(self.pointer(rec, down), -PAGE)

    def asked_to_attend(self) -> str:
        """Whether something that took long has asked for a look at the time (see `attend`)."""
        return self.let(f"icmp ne i8 {self.load_state('attend', 'i8')}, 0")

    def define(self, name: str, more: str = "") -> str:
        """The finished function as LLVM text, with ``more`` behind its attributes."""
        body = "\n".join(["entry:", *self.allocas, *self.lines])
        return f"define {CC} void @{name}({PARAMETERS}) #2{more} {{\n{body}\n}}\n"
