"""The memory layout that native code works with: a vCPU's state, and decoded pages.

A vCPU's state is one block: the ISA's register files in their order, then the engine's variables,
then the TLBs. Decoded pages are elsewhere, in the vCPU's arena:

====================== =============================================================
`PAGE_EPOCH`           the code epoch in which the page was last found unchanged
`PAGE_HOST`            the host address of the guest page it was decoded from
`PAGE_MODE`            the decode mode it was decoded in
`PAGE_VA`              the virtual address by which fetch TLBs may have it (`coherence`)
`PAGE_RUNS`            1 if what is decoded is made part of runs (`runs`)
`PAGE_COPY`            the bytes it was decoded from
`PAGE_RECORDS`         a record for each possible start of an instruction, then those that
                       lead across the end of the page
====================== =============================================================

A record is a handler's address followed by its operands. Its size is a power of two, large enough
for the ISA's operands, and there is one for each ``granule`` of code, so a record's address follows
from the program counter and the other way round.
"""

from __future__ import annotations

from msgspec import Struct

from ..isa.contract import PAGE
from ..isa.describe import Isa
from ..isa.state import File, StateSpec

__all__ = [
    "ADDENDS",
    "AT_REST",
    "DATA_ENTRIES",
    "DECODED",
    "ENTRY",
    "EVERYWHERE",
    "FETCH_ENTRIES",
    "FETCH_TLB",
    "GUARDED_TAG",
    "LOAD_TLB",
    "MEMORY_SLOTS",
    "MESSAGES",
    "MESSAGE_WORDS",
    "NEVER",
    "NOWHERE",
    "OPERANDS",
    "OWN_PAGES",
    "PAGE",
    "PAGE_COPY",
    "PAGE_EPOCH",
    "PAGE_HOST",
    "PAGE_MODE",
    "PAGE_RECORDS",
    "PAGE_RUNS",
    "PAGE_STORES",
    "PAGE_VA",
    "REPLAYS",
    "ROW_FACTOR",
    "ROW_SHIFT",
    "SAMPLES",
    "SAMPLE_WORDS",
    "SINGLE_WORDS",
    "SOMEWHERE",
    "STORE_TLB",
    "TLBS",
    "TLB_BYTES",
    "Layout",
]

OPERANDS = 8  # offset of the operands in a record
PAGE_EPOCH, PAGE_HOST, PAGE_MODE, PAGE_VA, PAGE_RUNS, PAGE_STORES = 0, 8, 16, 24, 32, 40
PAGE_COPY = 64
PAGE_RECORDS = PAGE_COPY + PAGE
# A value of `PAGE_EPOCH`: to be compared with memory before it is executed. Values of `PAGE_VA`: in
# no fetch TLB; by several addresses; with an address, by that one.
NEVER = -1
NOWHERE, EVERYWHERE, SOMEWHERE = 0, 2, 1
# A value of `PAGE_STORES`, the stores to a page since it was executed: it counts as data now.
AT_REST = 16

# Loads and stores have separate TLBs, so that a copy's source and destination never evict each
# other. Tags are stored together, so that emptying a TLB is one short fill; the addend that belongs
# to a tag is `ADDENDS` bytes after it.
DATA_ENTRIES = 1024
# The row of a page: the low 32 bits of its address times this factor, of which the highest bits are
# taken. Consecutive pages get consecutive rows, and every 4 MiB start at another one, so arrays
# that lie a power of two apart do not collide.
ROW_FACTOR, ROW_SHIFT = 1024 + 37, 22
# A fetch entry is a tag and the bias between a record's address and the program counter. Tags of
# guarded pages have the bit `GUARDED_TAG`, so that jumps that do not look for it miss. It is not
# one of the low bits that are zero in instructions' addresses: misaligned ones have to miss all
# tags.
FETCH_ENTRIES, ENTRY, GUARDED_TAG = 4096, 16, PAGE // 2
LOAD_TLB = 0
STORE_TLB = LOAD_TLB + DATA_ENTRIES * 8
FETCH_TLB = STORE_TLB + DATA_ENTRIES * 8
ADDENDS = FETCH_TLB + FETCH_ENTRIES * ENTRY
TLB_BYTES = ADDENDS + 2 * DATA_ENTRIES * 8
# The number of TLBs, each for one context and address space: enough for eight processes as seen by
# themselves and by the kernel, and some for the kernel alone. Each takes at most 96 KiB of the
# host's memory, and only as far as it is touched.
TLBS, CONTEXTS = 24, 16
OWN_PAGES = 4
"""Pages of an address space alone that a TLB lists; those of one with more are dropped together."""

# Size of the ring of pages decoded last, given by their addresses in the arena.
DECODED = 4096
# Messages that a vCPU's box holds before they become "forget everything"; see `messages`.
MESSAGES, MESSAGE_WORDS = 16, 5
MEMORY_SLOTS = 8
REPLAYS = 16
# Space, in words, for the records of an instruction that is executed singly; see `single`.
SINGLE_WORDS = 96
# Size of the ring of samples, places where the budget ran out: what a vCPU leaves in a tenth of a
# second at its fastest. A sample is five words: the target's record and the own record of the jump
# that found the budget spent (or 0), its program counter, the mode, and 1 if it is in a region.
SAMPLES, SAMPLE_WORDS = 32768, 5


def engine_state() -> StateSpec:
    """The engine's own variables, declared like registers so that routines can use them."""
    spec = StateSpec()
    # Instructions left until the next poll, and the count of retired ones when it reaches zero.
    spec.scalars(64, "budget", "poll_at")
    # The longest budget, and the generator whose numbers shorten each one.
    spec.scalars(64, "slice", "jitter")
    # Why the current instruction cannot complete: 0 it can, 1 a trap, 2 native code is left.
    spec.scalars(64, "pending", "trap_cause", "trap_value")
    spec.scalars(64, "leave_reason")
    # Whether an instruction is executed singly, the budget that was left, the instruction's bytes
    # and decode mode, and space for its record; see `single`.
    spec.scalars(8, "single", "single_mode", "examine_here")
    spec.scalars(64, "held_budget", "found_records")
    spec.scalars(128, "single_code")
    spec.file("single_records", SINGLE_WORDS, 64)
    # 1 while a trap whose delivery accesses memory is being delivered.
    spec.scalars(8, "delivering")
    spec.file("leave_args", 4, 64)
    # Device accesses of the current instruction that the board has answered, and their number when
    # the last answer was that nothing is there (otherwise 0).
    spec.scalars(64, "replay_count", "replay_at", "replay_fault")
    spec.file("replay", REPLAYS, 64)
    # Set by other threads: stop, or flush all that is cached of the guest's memory.
    spec.scalars(8, "stop", "flush_wanted")
    spec.scalars(32, "fp_env")
    _declare_tlbs(spec)
    _declare_messages(spec)
    # How code is decoded now: the decode mode, the mask of its program counter, the model's
    # features; and the kind of the jump by which a region was left.
    spec.scalars(8, "decode_mode", "far_landing")
    spec.scalars(64, "pc_mask", "features")
    spec.file("slot_base", MEMORY_SLOTS, 64)
    spec.file("slot_size", MEMORY_SLOTS, 64)
    spec.file("slot_host", MEMORY_SLOTS, 64)
    spec.file("slot_readonly", MEMORY_SLOTS, 64)
    spec.file("slot_page", MEMORY_SLOTS, 64)
    _declare_code(spec)
    # Time: nanoseconds at instruction 0, and nanoseconds per 1024 instructions (0: host's clock).
    spec.scalars(64, "clock_origin", "clock_rate")
    # How often the vCPU has said that it is waiting for another one (`pause`, `yield`).
    spec.scalars(64, "relaxed")
    # 1 after something that took as long as many instructions: look at time and requests soon.
    spec.scalars(8, "attend")
    # Instructions retired by the last poll, and 1 after it was reported that there are no more.
    spec.scalars(64, "polled_at")
    spec.scalars(8, "stuck")
    # 1 while the next instruction waits for an interrupt; then `attend` is 1 too.
    spec.scalars(8, "waiting")
    spec.file("counter", 10, 64)
    # For the sample, about the jump that found the budget spent: its target's record or 0, its own
    # record or 0, its address or -1, and whether it is in a region.
    spec.scalars(64, "spent_record", "spent_by", "spent_pc", "spent_in_region")
    spec.scalars(64, "sample_count", "samples_in_regions")
    spec.file("sample", SAMPLES * SAMPLE_WORDS, 64)
    # 1 for each offset of a page at which an instruction of a region made misaligned accesses.
    spec.file("misaligned", PAGE, 8)
    return spec


def _declare_code(spec: StateSpec) -> None:
    # Decoded pages: the epoch, the table by page of RAM, the arena, a blank page's records.
    spec.scalars(64, "code_epoch", "code_table", "code_table_bytes")
    spec.scalars(64, "arena_start", "arena_next", "arena_end", "blank_records")
    # Memory for runs (see `runs`): its bounds, the part that is free, the constants beside it, 1
    # when there is too little; and 1 if pages are worth runs from the beginning.
    spec.scalars(64, "code_start", "code_limit", "code_next", "code_end", "code_constants")
    spec.scalars(32, "code_full", "code_eager")
    spec.scalars(64, "decoded_count")
    spec.file("decoded", DECODED, 64)
    # Where stores to code take effect at once: how often the store TLBs were emptied for it, and
    # the page that the current instruction has stored to, plus 1, if others have decoded it (or 0).
    spec.scalars(64, "store_epoch", "stored_code")


def _declare_tlbs(spec: StateSpec) -> None:
    # The TLB in use and the one for unprivileged accesses, which may be the same: context, number
    # and host address.
    spec.scalars(8, "tlb_context", "user_context", "tlb_number", "user_number")
    spec.scalars(64, "tlb_space", "tlb_base", "user_tlb")
    # The address of the stub `reach`, which regions call.
    spec.scalars(64, "reach")
    # For each context, the TLB used last and its address space.
    spec.file("tlb_last", CONTEXTS, 8)
    spec.file("tlb_last_space", CONTEXTS, 64)
    # For each TLB: its owner, its context, when it was used last, the range of addresses for which
    # large pages have been cached, and the last `flush_fetch` (by number) that it has carried out.
    for name in ("tlb_owner", "tlb_served", "tlb_low", "tlb_high", "tlb_fetched"):
        spec.file(name, TLBS, 64)
    spec.file("tlb_serves", TLBS, 8)
    # How many pages that are not global were entered, up to one too many, and the first of these.
    spec.file("tlb_own_count", TLBS, 8)
    spec.file("tlb_own", TLBS * OWN_PAGES, 64)
    # The halves of the address range in which it may hold global pages: 1 the low, 2 the high one.
    spec.file("tlb_globals", TLBS, 8)
    spec.scalars(64, "tlb_clock", "fetch_epoch")


def _declare_messages(spec: StateSpec) -> None:
    # The box: its lock, the messages ever posted to and taken from it, those in it now, and whether
    # code is to be forgotten; 1 while the vCPU is in native code; and the other vCPUs.
    spec.scalars(64, "box_lock", "box_posted", "box_taken", "box_count", "box_code", "inside")
    spec.file("box", MESSAGES * MESSAGE_WORDS, 64)
    spec.scalars(64, "peers", "peer_count")


class Layout(Struct, frozen=True):
    """Offsets in bytes from the start of a vCPU's state.

    ``shared`` says whether other vCPUs access the same memory: if none does, a guest's atomic
    operations need not be atomic on the host. ``tlb`` is the offset of the TLBs, ``size`` that of
    the end.
    """

    isa: Isa
    shared: bool
    spec: StateSpec
    offsets: dict[str, int]
    tlb: int
    size: int

    @classmethod
    def of(cls, isa: Isa, shared: bool = True) -> Layout:
        """The layout of the state of an ISA's vCPUs."""
        spec = StateSpec(dict(isa.state.files) | engine_state().files)
        offsets: dict[str, int] = {}
        at = 0
        for file in spec.files.values():
            size = cls.slot_bytes(file)
            at = -(-at // size) * size
            offsets[file.name] = at
            at += size * file.slots
        tlb = -(-at // 64) * 64
        return cls(isa, shared, spec, offsets, tlb, tlb + TLBS * TLB_BYTES)

    @staticmethod
    def slot_bytes(file: File) -> int:
        """Storage of one register: its width rounded up to 1, 2, 4, 8 or 16 bytes."""
        size = 1
        while size * 8 < file.width:
            size *= 2
        return size

    @property
    def record(self) -> int:
        """The size of a record in bytes."""
        size = OPERANDS + max(self.isa.operands, self.straddling_key // 8)
        return 1 << (size - 1).bit_length()

    @property
    def straddling_key(self) -> int:
        """Width in bits of the key for an instruction that straddles the end of a page: its bytes,
        and how many of them are in the first page. 0 if the ISA has no such instructions."""
        if self.isa.fetch == self.isa.granule:
            return 0
        return 1 << (8 * self.isa.fetch + 7).bit_length()

    @property
    def code_row(self) -> int:
        """The words of a row of the table of code, which is a page's of RAM: the address of its
        decoded page, or 0, for each decode mode; and, for an ISA whose stores to code take effect
        at once, when it was last entered into a store TLB (see `coherence`)."""
        return len(self.isa.modes) + self.isa.coherent

    @property
    def tells_of_stores(self) -> bool:
        """Whether a vCPU that stores to code has to tell others, as its stores take effect at
        once (see `other_vcpus`)."""
        return self.isa.coherent and self.shared

    @property
    def scale(self) -> int:
        """Bytes of records for each byte of code."""
        return self.record // self.isa.granule

    @property
    def records(self) -> int:
        """Number of records of a page: one for each possible start of an instruction, those across
        its end, and one as scratch space."""
        return PAGE // self.isa.granule + self.isa.fetch // self.isa.granule + 2

    @property
    def page_bytes(self) -> int:
        """The size of a decoded page in bytes."""
        return -(-(PAGE_RECORDS + self.records * self.record) // 64) * 64
