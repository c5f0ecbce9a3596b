"""The memory that native code works on: where each register and engine variable lies.

A vCPU's state is one block: the ISA's register files in their order, the engine's variables, and
the TLBs at the end. A decoded page stands elsewhere, in the vCPU's arena:

====================== =============================================================
`PAGE_EPOCH`           the code epoch in which the page was last found unchanged
`PAGE_HOST`            the host address of the guest page it was decoded from
`PAGE_MODE`            the decode mode it was decoded in
`PAGE_COPY`            the bytes it was decoded from
`PAGE_RECORDS`         a record for each possible start of an instruction, then those that
                       lead over the end of the page
====================== =============================================================

A record is a handler's address and operands: a power of two of bytes, as the ISA's operands need,
for each ``granule`` of code. So the program counter follows from a record's address and back.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..isa.contract import PAGE
from ..isa.describe import Isa
from ..isa.state import File, StateSpec

__all__ = [
    "ADDENDS",
    "DATA_ENTRIES",
    "DECODED",
    "ENTRY",
    "FETCH_ENTRIES",
    "FETCH_TLB",
    "GUARDED_TAG",
    "LOAD_TLB",
    "MEMORY_SLOTS",
    "MESSAGES",
    "MESSAGE_WORDS",
    "OPERANDS",
    "PAGE",
    "PAGE_COPY",
    "PAGE_EPOCH",
    "PAGE_HOST",
    "PAGE_MODE",
    "PAGE_RECORDS",
    "REPLAYS",
    "ROW_FACTOR",
    "ROW_SHIFT",
    "SAMPLES",
    "SAMPLE_WORDS",
    "SINGLE_WORDS",
    "STORE_TLB",
    "TLBS",
    "TLB_BYTES",
    "Layout",
]

OPERANDS = 8  # offset of the operands in a record
PAGE_EPOCH, PAGE_HOST, PAGE_MODE, PAGE_COPY = 0, 8, 16, 64
PAGE_RECORDS = PAGE_COPY + PAGE

# Loads and stores have TLBs of their own, so that a copy's source and destination never drive each
# other out. Tags stand together, so that emptying a context is one short fill; the addend that
# belongs to a tag stands `ADDENDS` bytes behind it.
DATA_ENTRIES = 1024
# The row of a page: the low half of its address times this, the highest bits of 32. Pages in a row
# get rows in a row, and each 4 MiB start elsewhere: arrays a power of two apart do not collide.
ROW_FACTOR, ROW_SHIFT = 1024 + 37, 22
# A fetch entry is a tag and the bias between a record's address and the program counter. Tags of
# guarded pages have `GUARDED_TAG` in them, so that jumps that know nothing of these miss. It is
# none of the bits that are zero in instructions' addresses: misaligned ones have to miss all tags.
FETCH_ENTRIES, ENTRY, GUARDED_TAG = 256, 16, PAGE // 2
LOAD_TLB = 0
STORE_TLB = LOAD_TLB + DATA_ENTRIES * 8
FETCH_TLB = STORE_TLB + DATA_ENTRIES * 8
ADDENDS = FETCH_TLB + FETCH_ENTRIES * ENTRY
TLB_BYTES = ADDENDS + 2 * DATA_ENTRIES * 8
# How many there are, each for a context and an address space: those of eight processes, as they
# and the kernel see them, and some for the kernel alone. They take what is touched of the host's
# memory, 36 KiB each at most.
TLBS, CONTEXTS = 24, 16

# The last pages whose code was taken, a ring: their addresses in the arena.
DECODED = 4096
# What other vCPUs ask to be forgotten, before it is everything; see `messages`.
MESSAGES, MESSAGE_WORDS = 16, 5
MEMORY_SLOTS = 8
REPLAYS = 16
# Room for the records of an instruction that is executed by itself, in words.
SINGLE_WORDS = 32
# The last places where the budget ran out, a ring: what a vCPU leaves in a tenth of a second at
# its fastest. A sample is two records or 0, where the jump led that found the budget spent and the
# jump's own, its program counter, the mode, and 1 in a region.
SAMPLES, SAMPLE_WORDS = 32768, 5


def engine_state() -> StateSpec:
    """The engine's own variables, declared like registers so that routines can use them."""
    spec = StateSpec()
    # Instructions left until the next poll, and the count of retired ones when it reaches zero.
    spec.scalars(64, "budget", "poll_at")
    # The longest budget; each is shorter by a number from this generator.
    spec.scalars(64, "slice", "jitter")
    # 0, or why the instruction in hand cannot go on: 1 a trap, 2 native code is left.
    spec.scalars(64, "pending", "trap_cause", "trap_value")
    spec.scalars(64, "leave_reason")
    # Whether an instruction is executed by itself, what was left of the budget then, its bytes and
    # decode mode, and room for its record; see `single`.
    spec.scalars(8, "single", "single_mode", "examine_here")
    spec.scalars(64, "held_budget", "found_records")
    spec.scalars(128, "single_code")
    spec.file("single_records", SINGLE_WORDS, 64)
    # 1 while a trap is delivered that accesses memory.
    spec.scalars(8, "delivering")
    spec.file("leave_args", 4, 64)
    # Device accesses of the instruction in hand that the board has answered, and how many when
    # the last answer was that nothing is there, or 0.
    spec.scalars(64, "replay_count", "replay_at", "replay_fault")
    spec.file("replay", REPLAYS, 64)
    # Set from other threads: stop, or flush what is cached of the guest's memory.
    spec.scalars(8, "stop", "flush_wanted")
    spec.scalars(32, "fp_env")
    _declare_tlbs(spec)
    _declare_messages(spec)
    # What code means now: the decode mode, its program counter's bits, the model's features; and
    # the kind of the jump by which a region is left.
    spec.scalars(8, "decode_mode", "far_landing")
    spec.scalars(64, "pc_mask", "features")
    spec.file("slot_base", MEMORY_SLOTS, 64)
    spec.file("slot_size", MEMORY_SLOTS, 64)
    spec.file("slot_host", MEMORY_SLOTS, 64)
    spec.file("slot_readonly", MEMORY_SLOTS, 64)
    spec.file("slot_page", MEMORY_SLOTS, 64)
    # Decoded pages: the epoch, the table by page of RAM, the arena, an empty page's records.
    spec.scalars(64, "code_epoch", "code_table", "code_table_bytes")
    spec.scalars(64, "arena_start", "arena_next", "arena_end", "blank_records")
    spec.scalars(64, "decoded_count")
    spec.file("decoded", DECODED, 64)
    # Time: nanoseconds at instruction zero, and per 1024 instructions (0: the host's clock).
    spec.scalars(64, "clock_origin", "clock_rate")
    # Times that the vCPU has said that it waits for another one.
    spec.scalars(64, "relaxed")
    # 1 after what takes as long as many instructions: look at the time and at what is asked for.
    spec.scalars(8, "attend")
    # Instructions retired at the last poll, and 1 after it was told that they grow no more.
    spec.scalars(64, "polled_at")
    spec.scalars(8, "stuck")
    # 1 while the next instruction waits for an interrupt; then `attend` is 1 too.
    spec.scalars(8, "waiting")
    spec.file("counter", 10, 64)
    # What the jump that found the budget spent says for the sample: the record it goes to or 0,
    # its own record or 0, its address or -1, and whether it is in a region.
    spec.scalars(64, "spent_record", "spent_by", "spent_pc", "spent_in_region")
    spec.scalars(64, "sample_count", "samples_in_regions")
    spec.file("sample", SAMPLES * SAMPLE_WORDS, 64)
    return spec


def _declare_tlbs(spec: StateSpec) -> None:
    # The TLB in use and that of unprivileged accesses, which may be the same: what for, which it
    # is, and its host address.
    spec.scalars(8, "tlb_context", "user_context", "tlb_number", "user_number")
    spec.scalars(64, "tlb_space", "tlb_base", "user_tlb")
    # By context, the TLB that served last, and in which address space.
    spec.file("tlb_last", CONTEXTS, 8)
    spec.file("tlb_last_space", CONTEXTS, 64)
    # Each TLB: whose it is, for which context, when it served last, the range of addresses that
    # large pages have been cached for, and the count of `flush_fetch` that it has followed.
    for name in ("tlb_owner", "tlb_served", "tlb_low", "tlb_high", "tlb_fetched"):
        spec.file(name, TLBS, 64)
    spec.file("tlb_serves", TLBS, 8)
    # In which halves of the addresses it may hold global pages: 1 the low one, 2 the high one.
    spec.file("tlb_globals", TLBS, 8)
    spec.scalars(64, "tlb_clock", "fetch_epoch")


def _declare_messages(spec: StateSpec) -> None:
    # The box: its lock, how many messages were ever put into it and taken out, how many there are,
    # and whether code is to be forgotten; 1 while the vCPU is in native code; and the other vCPUs.
    spec.scalars(64, "box_lock", "box_posted", "box_taken", "box_count", "box_code", "inside")
    spec.file("box", MESSAGES * MESSAGE_WORDS, 64)
    spec.scalars(64, "peers", "peer_count")


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes from the start of a vCPU's state.

    ``shared`` tells whether other vCPUs work on the same memory: if none does, a guest's atomic
    operations need not be the host's.
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
        """The size of a record."""
        size = OPERANDS + max(self.isa.operands, self.straddling_key // 8)
        return 1 << (size - 1).bit_length()

    @property
    def straddling_key(self) -> int:
        """Bits that tell one instruction over the end of a page from others: its bytes, and how
        many of them are in the page. 0 where there are no such instructions."""
        if self.isa.fetch == self.isa.granule:
            return 0
        return 1 << (8 * self.isa.fetch + 7).bit_length()

    @property
    def scale(self) -> int:
        """Bytes of records for a byte of code."""
        return self.record // self.isa.granule

    @property
    def records(self) -> int:
        """Records of a page: one for each start, those over its end, and one to work with."""
        return PAGE // self.isa.granule + self.isa.fetch // self.isa.granule + 2

    @property
    def page_bytes(self) -> int:
        """The size of a decoded page."""
        return -(-(PAGE_RECORDS + self.records * self.record) // 64) * 64
