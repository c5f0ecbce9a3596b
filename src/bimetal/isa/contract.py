"""What the engine and the accelerators ask of an instruction set, besides its instructions.

An `Architecture` is everything that the rest of Bimetal knows of an instruction set: its `Isa`, the
routines by which the engine translates addresses, takes traps and chooses interrupts (`Hooks`), and
how the outside meets a vCPU: reset, firmware calls, its timer, the names of its modes. `names` has
the list of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Protocol, Self

from bimetal.base.errors import BimetalError, ExitCode

from .describe import Isa
from .floating import FloatPolicy
from .state import RegisterStore
from .trace import Routine

__all__ = [
    "FETCH",
    "GLOBAL",
    "GUARDED",
    "LARGE",
    "LOAD",
    "PAGE",
    "READ_OK",
    "STORE",
    "STRICT",
    "UNPRIVILEGED",
    "UPDATE",
    "WRITE_OK",
    "Architecture",
    "Hooks",
    "Processor",
    "RegisterStore",
    "Start",
    "Whole",
    "unchangeable",
]

LOAD, STORE, FETCH = 0, 1, 2
"""Kinds of access, as hooks are told them."""
UNPRIVILEGED = 4
"""Added to a kind: with the rights of user mode, whatever the mode is."""
UPDATE = 8
"""Added to a store that is told to `Hooks.watch`: what is there is read too."""

PAGE = 4096
"""Bytes of the pages that `Hooks.translate` tells of. An instruction set may have others: smaller
ones do not exist for the engine, larger ones are many of these."""
READ_OK, WRITE_OK, GLOBAL, LARGE = 1, 2, 4, 8
"""Added to the page that an address leads to: it may be read, it may be written, it is the same
wherever `Hooks.global_space` is, and it is part of a page larger than `PAGE`."""
GUARDED = 1 << 11
"""Added to it where indirect jumps may not lead to any instruction (`decoding.Landing`)."""

STRICT = "strict"
"""The register by which an instruction set with `Hooks.unaligned` says, by any value but 0, that it
has to be asked."""


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
}
_DEBUGGING: dict[str, tuple[int, dict[str, int]]] = {
    "examined": (1, {"va": 64}),
    "examine": (0, {}),
    "watched": (1, {"va": 64}),
    "watch": (0, {"va": 64, "size": 64, "access": 8}),
}


@dataclass(frozen=True, slots=True)
class Hooks:
    """The routines that every instruction set describes. Kinds of access are `LOAD`, `STORE` and
    `FETCH`, perhaps `UNPRIVILEGED`."""

    translate: Routine
    """The physical page of an address, with what is true of `READ_OK`, `WRITE_OK`, `GLOBAL`,
    `LARGE` and `GUARDED` added to it; or a trap."""

    context: Routine
    """What decides on rights, a number below 16: TLBs serve one context each. All else that
    translations depend on is part of `address_space`, or asks for a flush when it changes."""

    user_context: Routine
    """The context of accesses with the rights of user mode; ``current`` if there are none."""

    address_space: Routine
    """A number for the current address space: translations are kept for each number. It holds
    what software changes without a flush: RISC-V's satp; AArch64's ASID, VMID and which stages
    are on; x86's PCID, VPID and paging mode (a write of CR3 that does flush asks for that).
    Whether a change takes effect before the next `Cpu.sync` is open. All ones stands for nobody."""

    global_space: Routine
    """The same for global pages: one number for all address spaces that share them, and that is no
    address space's own. Where there is but one address space, it may be that."""

    access_fault: Routine
    """Raise the trap for an access to an address where there is no memory and no device."""

    misaligned: Routine
    """Raise the trap for an access that has to be aligned and is not, or for a fetch from where no
    instruction can begin."""

    undefined: Routine
    """What executing an encoding does that no description recognises."""

    take_trap: Routine
    """Enter the handler of a trap at the instruction at ``pc``; the new ``pc``."""

    pending_interrupt: Routine
    """The cause of the interrupt to take now, or 0."""

    wakes: Routine
    """Whether an interrupt is pending that ends a wait for interrupts, even if it is masked now."""

    poll_timer: Routine
    """Renew what follows from the time; called at every poll."""

    renew: Routine
    """Renew what follows from other registers, after these were set from outside."""

    mode: Routine
    """The privilege mode, for profiles."""

    decode_mode: Routine | None = None
    """The number of the decode mode, among those of the ISA: only where there are several. Contexts
    (above) of different decode modes are different ones."""

    landed: Routine | None = None
    """Asked before the first instruction behind an indirect jump into a guarded page, whose bytes
    are ``code``: it raises the trap if it may not be there, and otherwise sets the register of
    `decoding.Landing` to what the instruction shall find there."""

    unaligned: Routine | None = None
    """What is asked of a misaligned access that need not be aligned by itself: it may raise the
    trap. Where there is this, misaligned accesses to devices raise it in any case, and the register
    `STRICT` tells whether others may do so too."""

    fault_in_delivery: Routine | None = None
    """The cause to deliver instead where the delivery of a trap, the first cause, has raised the
    second one: only where `take_trap` accesses memory by virtual addresses. It may leave. Stores of
    a delivery that faults stand; there are no devices for it."""

    # Debugging: all of these or none. They are asked while the ISA's register ``debugging`` is not
    # 0. A change of what they answer has to be followed by a flush (``flush_fetch`` is enough for
    # the first two) and `Cpu.sync`.
    examined: Routine | None = None
    """Whether instructions of a page are executed one at a time. The page is in no fetch TLB then,
    so the others pay nothing. `pending_interrupt` is asked before each instruction there."""

    examine: Routine | None = None
    """Asked before each instruction of such a page, which has been fetched: it may raise a trap."""

    watched: Routine | None = None
    """Whether accesses to a page are watched. The page is in no data TLB then."""

    watch: Routine | None = None
    """Asked before each access, or part of one, to such a page, and perhaps to others, which may be
    made otherwise: it may raise a trap. An atomic update is a store, perhaps with `UPDATE`."""

    @classmethod
    def of(cls, isa: Isa) -> Self:
        """The hooks among an ISA's routines. TypeError names what is missing or has other
        parameters than it should."""
        wanted = _SIGNATURES | {
            name: signature for name, signature in _OPTIONAL.items() if name in isa.routines
        }
        if any(name in isa.routines for name in _DEBUGGING):
            wanted |= _DEBUGGING
        if sum(not mode.guarded for mode in isa.modes) > 1:
            wanted["decode_mode"] = _OPTIONAL["decode_mode"]
        if isa.landing is not None:
            wanted["landed"] = _OPTIONAL["landed"]
        wrong = [
            name
            for name, (returns, widths) in wanted.items()
            if (routine := isa.routines.get(name)) is None
            or (routine.returns, dict(routine.widths)) != (returns, widths)
        ]
        if wrong:
            raise TypeError(f"{isa.name} has no such routines as the engine wants: {wrong}")
        return cls(**{hook.name: isa.routines.get(hook.name) for hook in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Start:
    """What a vCPU is to be after reset: the number ``index`` of the machine, of a processor
    ``model``; with ``firmware_calls`` it enters the kernel's mode as firmware would, and calls of
    firmware come out; with ``hypervisor`` it has a hypervisor's mode, and enters that. With
    ``controller`` the board has an interrupt controller whose registers are the vCPU's own.
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


@dataclass(frozen=True, slots=True)
class Whole:
    """A processor with all that is described."""

    lacks: Collection[str] = ()
    physical_bits: int = 64


def whole(model: str) -> Processor:
    """The processors of an instruction set whose models all have everything."""
    if "," in model:
        raise unchangeable(model, ())
    return Whole()


def unchangeable(model: str, features: Collection[str]) -> BimetalError:
    """The error for a model with features that cannot be, of those that there are."""
    name, _, change = model.partition(",")
    return BimetalError(
        f"the processor model {name} cannot be changed by {change!r}",
        f"take away features of it, each with a '-': {', '.join(sorted(features))}"
        if features
        else "leave that away: it has the features that are described, and no others",
        ExitCode.USAGE,
    )


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the outside meets a vCPU.

    ``reset`` sets the registers that do not reset to zero. ``arguments`` and ``results`` are the
    registers of firmware calls. ``deadline`` is when the vCPU's own timer fires, in nanoseconds.
    ``floating`` is its floating point, if it has any. ``inputs`` is the file of interrupt inputs, a
    byte each, ``outputs`` that of the vCPU's own outputs, if it has any. ``accessed`` is the file
    with the register that a `RegisterAccess` is answered to; ``semihosting`` that of the register
    that is 1 as long as programs may make semihosting calls, and becomes 0 when one is refused.
    ``modes`` are the privilege modes by the numbers that the hook ``mode`` gives, ``user`` the name
    of the one that programs run in. ``models`` are the processors that it can be, the usual one
    first; ``processor`` is what one of them has, and those that it can be changed into: it raises
    `BimetalError` for changes that are none.
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

    def __post_init__(self) -> None:
        Hooks.of(self.isa)

    def features(self, model: str) -> int:
        """The features that a model has, a bit for each of `Isa.features`."""
        lacking = self.processor(model).lacks
        return sum(1 << n for n, feature in enumerate(self.isa.features) if feature not in lacking)

    def rounding(self, state: RegisterStore) -> int:
        """The current floating-point mode by its number in `ir.fp.Rounding`."""
        return self.floating.rounding(state) if self.floating is not None else 0

    def levels(self, state: RegisterStore) -> int:
        """The levels of the outputs, a bit each."""
        count = self.isa.state.files[self.outputs].count
        return sum(state.get(self.outputs, n) << n for n in range(count))
