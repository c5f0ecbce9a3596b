"""What the engine and the accelerators need of an instruction set, besides its instructions.

An `Architecture` is everything that the rest of Bimetal knows of an instruction set: its `Isa`, the
routines by which the engine translates addresses, takes traps and chooses interrupts (`Hooks`), and
how a vCPU is used from outside: reset, firmware calls, its timer, the names of its modes. `names`
lists all instruction sets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, Self

from msgspec import Struct, field

from .changes import unchangeable
from .describe import Isa
from .floating import FloatPolicy
from .state import RegisterStore
from .trace import Routine

__all__ = [
    "FETCH",
    "GLOBAL",
    "GUARDED",
    "HUGE",
    "LARGE",
    "LOAD",
    "PAGE",
    "PART",
    "READ_OK",
    "STORE",
    "STRICT",
    "UNPRIVILEGED",
    "UNREADABLE",
    "UPDATE",
    "WRITE_OK",
    "Architecture",
    "Hooks",
    "Processor",
    "RegisterStore",
    "Start",
    "Whole",
]

LOAD, STORE, FETCH = 0, 1, 2
"""Kinds of access, as passed to hooks."""
UNPRIVILEGED = 4
"""Modifier of a kind: with the rights of user mode, whatever the current mode is."""
UPDATE = 8
"""Modifier of a store passed to `Hooks.watch`: it also reads, as an atomic update does."""
PART = 32
"""Modifier of a kind passed to `Hooks.watch`: it is part of an access that is wider than 64 bits,
or of one that stands for single bytes (`Access.in_page`)."""

PAGE = 4096
"""Bytes of the pages that `Hooks.translate` returns. An instruction set may have larger ones, which
are many of these for the engine, but no smaller ones."""
READ_OK, WRITE_OK, GLOBAL, LARGE = 1, 2, 4, 8
"""Bits that `Hooks.translate` adds to a page's address: it may be read; it may be written; it is
global, the same for all address spaces with this `Hooks.global_space`; it is part of a page larger
than `PAGE`."""
HUGE = 1 << 10
"""A bit added likewise, besides `LARGE`, to part of a page larger than a gigabyte."""
UNREADABLE = 1 << 9
"""A bit added likewise to the page of a store that must not be read: no TLB holds it, and atomic
updates are translated as loads too."""
GUARDED = 1 << 11
"""A bit added likewise to a guarded page, in which targets of indirect jumps are checked
(`decoding.Landing`)."""

STRICT = "strict"
"""The register of an instruction set with `Hooks.unaligned`: not 0 while that hook has to be called
for misaligned accesses to memory too."""


_SIGNATURES: dict[str, tuple[int, dict[str, int]]] = {
    "translate": (64, {"va": 64, "access": 8}),
    "context": (8, {}),
    "user_context": (8, {"current": 8}),
    "address_space": (64, {}),
    "global_space": (64, {}),
    "access_fault": (0, {"access": 8, "va": 64}),
    "misaligned": (0, {"access": 8, "va": 64}),
    "undefined": (0, {}),
    "take_trap": (64, {"cause": 64, "value": 64}),
    "pending_interrupt": (64, {}),
    "wakes": (1, {}),
    "poll_timer": (0, {}),
    "renew": (0, {}),
    "mode": (8, {}),
}
_OPTIONAL: dict[str, tuple[int, dict[str, int]]] = {
    "decode_mode": (8, {}),
    "landed": (0, {"code": 64}),
    "unaligned": (0, {"access": 8, "va": 64}),
    "fault_in_delivery": (64, {"first": 64, "second": 64}),
    "jump_address": (64, {"pc": 64}),
}
_DEBUGGING: dict[str, tuple[int, dict[str, int]]] = {
    "examined": (1, {"va": 64}),
    "examine": (0, {}),
    "watched": (1, {"va": 64}),
    "watch": (0, {"va": 64, "size": 64, "access": 8}),
}


class Hooks(Struct, frozen=True):
    """The routines that every instruction set describes. A parameter ``access`` is `LOAD`, `STORE`
    or `FETCH`, possibly with `UNPRIVILEGED`; ``va`` is a virtual address."""

    translate: Routine
    """Translate a virtual address: the address of its physical page plus those of `READ_OK`,
    `WRITE_OK`, `GLOBAL`, `LARGE`, `HUGE`, `UNREADABLE` and `GUARDED` that apply; or raise the trap
    of a page fault."""

    context: Routine
    """A number below 16 for the current set of access rights: each TLB serves one context. All else
    that translations depend on is part of `address_space`, or its change flushes the TLBs."""

    user_context: Routine
    """The context of accesses with the rights of user mode; ``current`` if there are none."""

    address_space: Routine
    """A number for the current address space: translations are cached separately for each number.
    It contains what software may change without a flush: RISC-V's satp; AArch64's ASID, VMID and
    which stages are on; x86's PCID, VPID and paging mode (a write of CR3 that flushes does so
    explicitly). A change may take effect before the next `Cpu.sync` or not. All ones is reserved.
    """

    global_space: Routine
    """The same for global pages: a number for all address spaces that share them, different from
    the number of any address space, unless there is only one."""

    access_fault: Routine
    """Raise the trap for an access to an address where there is no memory and no device."""

    misaligned: Routine
    """Raise the trap for an access that has to be aligned and is not, or for a fetch from an
    address at which no instruction can begin."""

    undefined: Routine
    """Execute an undefined encoding: raise its trap."""

    take_trap: Routine
    """Take a trap at the instruction at ``pc``: set the registers that record it, and return the
    address of the guest's handler."""

    pending_interrupt: Routine
    """The cause of the interrupt to take now, or 0."""

    wakes: Routine
    """Whether an interrupt is pending that ends a wait for interrupts, even if it is masked now."""

    poll_timer: Routine
    """Recompute what depends on the time, such as timer interrupts; called at every poll."""

    renew: Routine
    """Recompute derived registers, after registers were set from outside."""

    mode: Routine
    """The privilege mode, for profiles."""

    decode_mode: Routine | None = None
    """The number of the current decode mode, for ISAs that have several. Different decode modes
    must have different contexts (see `context`)."""

    landed: Routine | None = None
    """Called before the instruction to which an indirect jump into a guarded page has led; its
    bytes are ``code``. Raises the trap if the jump may not lead there, and otherwise sets the
    register of `decoding.Landing` to the value that the instruction sees."""

    unaligned: Routine | None = None
    """Called for misaligned accesses of instructions that do not themselves require alignment: it
    may raise the trap. With this hook, misaligned accesses to devices always raise it, and the
    register `STRICT` says whether those to memory may, too."""

    fault_in_delivery: Routine | None = None
    """The cause to deliver when delivering a trap (the first cause) has raised another (the second
    one). Needed only if `take_trap` accesses memory by virtual addresses. It may leave native code.
    Stores that the faulting delivery has made remain; it cannot access devices."""

    jump_address: Routine | None = None
    """The program counter for a jump to ``pc``, where jumps take a tag out of an address. Called
    before an interrupt is taken or an instruction fetched by an address that no fetch TLB holds."""

    # Debugging: all of these or none. They are called while the ISA's register ``debugging`` is not
    # 0. When their answers change, the ISA has to flush (``flush_fetch`` is enough for the first
    # two) and call `Cpu.sync`.
    examined: Routine | None = None
    """Whether instructions of a page are executed one at a time. Such a page is in no fetch TLB, so
    other pages cost nothing. `pending_interrupt` is called before each instruction there."""

    examine: Routine | None = None
    """Called before each instruction of such a page, once it is fetched: it may raise a trap."""

    watched: Routine | None = None
    """Whether accesses to a page are watched. Such a page is in no data TLB."""

    watch: Routine | None = None
    """Called before each access, or part of one, to such a page, and possibly to other pages: it
    may raise a trap. An atomic update is a store, possibly with `UPDATE`. Of an access to two pages
    it is told as a whole and once more in parts."""

    @classmethod
    def of(cls, isa: Isa) -> Self:
        """The hooks among an ISA's routines. Raises TypeError, which names those that are missing
        or have the wrong parameters."""
        wanted = _SIGNATURES | {
            name: signature for name, signature in _OPTIONAL.items() if name in isa.hooks
        }
        if any(name in isa.hooks for name in _DEBUGGING):
            wanted |= _DEBUGGING
        if sum(not mode.guarded for mode in isa.modes) > 1:
            wanted["decode_mode"] = _OPTIONAL["decode_mode"]
        if isa.landing is not None:
            wanted["landed"] = _OPTIONAL["landed"]
        wrong = [
            name
            for name, (returns, widths) in wanted.items()
            if (routine := isa.hooks.get(name)) is None
            or (routine.returns, dict(routine.widths)) != (returns, widths)
        ]
        if wrong:
            raise TypeError(f"{isa.name} has no such routines as the engine wants: {wrong}")
        return cls(**{name: isa.hooks.get(name) for name in cls.__struct_fields__})  # type: ignore[arg-type]


class Start(Struct, frozen=True):
    """How a vCPU starts after reset: it is number ``index`` of the machine, of a processor
    ``model``. With ``firmware_calls`` it starts in the kernel's mode, as firmware would enter it,
    and firmware calls are exits; with ``hypervisor`` it has a hypervisor mode and starts in it.
    With ``controller`` the board has an interrupt controller whose registers the vCPU accesses as
    system registers.
    """

    index: int
    firmware_calls: bool = False
    model: str = ""
    hypervisor: bool = False
    controller: bool = False


class Processor(Protocol):
    """A processor model."""

    @property
    def lacks(self) -> Collection[str]:
        """Those of `Isa.features` that it has not."""

    @property
    def physical_bits(self) -> int:
        """How wide its physical addresses are."""

    @property
    def bits(self) -> int:
        """How wide the general registers of a program can be."""


class Whole(Struct, frozen=True):
    """A processor with all that is described."""

    lacks: Collection[str] = ()
    physical_bits: int = 64
    bits: int = 64


def whole(model: str) -> Processor:
    """The processors of an instruction set whose models all have everything."""
    if "," in model:
        raise unchangeable(model, ())
    return Whole()


class Architecture(Struct, frozen=True):
    """An instruction set as the rest of Bimetal sees it.

    ``reset`` sets the registers that do not reset to zero. ``arguments`` and ``results`` are the
    registers of firmware calls. ``deadline`` is when the vCPU's own timer fires, in nanoseconds of
    the machine's clock (None: never). ``floating`` is its floating point, if it has any. ``inputs``
    is the file of interrupt inputs, a byte each, ``outputs`` that of the vCPU's own outputs, if it
    has any. ``accessed`` is the file with the register that a `RegisterAccess` is answered to;
    ``semihosting`` that of the register that is 1 as long as programs may make semihosting calls,
    and becomes 0 when one is refused. ``modes`` are the privilege modes by the numbers that the
    hook ``mode`` gives, ``user`` the name of the one that programs run in. ``models`` are the
    processors that it can be, the default one first; ``processor`` describes a model, possibly with
    changes, and raises `BimetalError` for changes that are not possible. ``absent`` are models that
    people know and that are not there, each with the reason. ``linux`` are the words by which
    Linux's command line tells of a model what the kernel cannot find out. ``extensions`` are for
    device trees that list them.
    """

    isa: Isa
    reset: Callable[[RegisterStore, Start], None]
    arguments: tuple[tuple[str, int], ...]
    results: tuple[tuple[str, int], ...]
    deadline: Callable[[RegisterStore], int | None]
    modes: Mapping[int, str]
    models: tuple[str, ...]
    floating: FloatPolicy | None = None
    inputs: str = "line"
    outputs: str = ""
    accessed: str = ""
    semihosting: str = ""
    user: str = "user"
    processor: Callable[[str], Processor] = whole
    absent: Mapping[str, str] = field(default_factory=dict)
    linux: Callable[[str], str] = lambda model: ""
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Hooks.of(self.isa)

    def features(self, model: str) -> int:
        """The features that a model has, a bit for each of `Isa.features`."""
        lacking = self.processor(model).lacks
        return sum(1 << n for n, feature in enumerate(self.isa.features) if feature not in lacking)

    def rounding(self, state: RegisterStore) -> int:
        """The current floating-point mode by its number in `ir.fp.Rounding`."""
        return self.floating.rounding(state) if self.floating is not None else 0

    @property
    def notes_subnormal(self) -> bool:
        """Whether subnormal operands are noted by a floating-point flag."""
        return self.floating is not None and self.floating.notes_subnormal

    @property
    def float_flags(self) -> int:
        """How many floating-point flags there are."""
        return 6 if self.notes_subnormal else 5

    def levels(self, state: RegisterStore) -> int:
        """The levels of the outputs, a bit each."""
        count = self.isa.state.files[self.outputs].count
        return sum(state.get(self.outputs, n) << n for n in range(count))
