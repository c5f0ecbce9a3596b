"""Copying and setting memory (FEAT_MOPS, C6.2: CPY and SET): prologue, main part and epilogue.

Registers have the format of option B: addresses and a size that say what is still to be done, so
they are right at any exception. A prologue chooses a direction and copies nothing; the main part
does one step and is executed again until nothing is left; an epilogue would do a rest byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.value import Value, const, select
from ....ir.vector import splat
from ...contract import PAGE
from ...trace import Cpu, Local, pin, slowly, when
from ..debug import DATA
from ..flags import set_flags
from ..hosts import hosted
from ..state import a64
from ..syndromes import EL0, EL1, EL2, MEMORY_OPERATION, syndrome, trap_to_el2, undefined

PROLOGUE, MAIN, EPILOGUE = range(3)
STAGES = "pme"

STEP = 64
PIECES = (16, 8, 4, 2, 1)
"""Sizes of pieces: a step moves 64 bytes, or all that is left in at most two pieces, which may
overlap. It stores after it has loaded everything, and lies within a page, so that either all of its
stores are done or none."""

ENABLED = 1 << 33  # SCTLR_ELx.MSCEn, for EL0
FOR_EL1, TRAPPED = 1 << 11, 1 << 10  # HCRX_EL2.MSCEn, MCE2

MOST_COPIED, MOST_FORWARD, MOST_SET = (1 << 55) - 1, (1 << 63) - 1, (1 << 63) - 1
"""The largest size of a copy that chooses its direction, of one that does not, and of a set."""
ADDRESS = (1 << 56) - 1
"""The bits of addresses that the direction of a copy depends on."""

# The syndrome (ISS of class 0x27): what it was, and that the registers are not of this format.
IS_SET, FROM_EPILOGUE, WRONG_OPTION = 1 << 24, 1 << 18, 1 << 17

Places = Callable[[Value], tuple[Value, ...]]
"""Where so many bytes stand that are next: the destination first."""

Offsets = Sequence[Value | int]
Move = Callable[[tuple[Value, ...], Offsets, int], None]
"""Moves pieces: to and from places, at offsets of these, of so many bytes."""


def _check_enabled(cpu: Cpu) -> None:
    host = hosted(cpu)
    control = select(host, cpu.sctlr_el[EL2], cpu.sctlr_el[EL1])
    barred = (cpu.el == EL0) & ((control & ENABLED) == 0)
    below = (cpu.el != EL2) & (cpu.el2_there == 1) & ~host
    with slowly(barred | (below & ((cpu.hcrx & FOR_EL1) == 0))):
        undefined(cpu)


def _check_format(cpu: Cpu, stage: int, what: int, numbers: Sequence[Value]) -> None:
    """Raise the exception for registers in the format of option A, which another processor has
    written; the handler converts them."""
    options, destination, source, size = (number.zext(64) for number in numbers)
    what |= WRONG_OPTION | (FROM_EPILOGUE if stage == EPILOGUE else 0)
    with slowly(cpu.cf == 0):
        iss = options << 19 | destination << 10 | source << 5 | size | what
        with when((cpu.el == EL1) & (cpu.el2_there == 1) & ((cpu.hcrx & TRAPPED) != 0)):
            trap_to_el2(cpu, MEMORY_OPERATION, iss)
        cpu.trap(syndrome(MEMORY_OPERATION, iss))


def _step(cpu: Cpu, stage: int, left: Value, places: Places, move: Move, done: Local) -> None:
    """Do the largest step that is possible. While accesses are watched it is one byte: a watchpoint
    between two pieces would leave a source that the first of them has overwritten."""
    left = select(((cpu.debugging & DATA) != 0) & (left != 0), const(1, 64), left)
    if stage == EPILOGUE:
        with when(left != 0):
            move(places(const(1, 64)), (0,), 1)
            done.set(1)
        return

    size = const(STEP, 64)
    with when(left.uge(STEP) & _in_pages(places, size)) as large:
        move(places(size), range(0, STEP, 16), 16)
        done.set(STEP)
        with large.otherwise():
            _small_step(PIECES, left, places, move, done)


def _small_step(
    pieces: Sequence[int], left: Value, places: Places, move: Move, done: Local
) -> None:
    piece, *smaller = pieces
    size = select(left.ult(2 * piece), left, 2 * piece)
    fits = left.uge(piece)
    with when(fits & _in_pages(places, size)) as step:
        move(places(size), (0, size - piece), piece)
        done.set(size)
        with step.otherwise():
            if smaller:
                _small_step(smaller, left, places, move, done)
            else:
                with when(fits):
                    move(places(const(1, 64)), (0,), 1)
                    done.set(1)


def _in_pages(places: Places, size: Value) -> Value:
    """Whether a number of bytes lies within one page, at each of the addresses."""
    inside = const(1, 1)
    for place in places(size):
        inside = inside & (const(PAGE, 64) - size).uge(place & PAGE - 1)
    return inside


def _again(cpu: Cpu, left: Value) -> None:
    with when(left != 0):
        cpu.jump(cpu.pc)


# -- copies


def _apart(Rd: Value, Rs: Value, Rn: Value, **_: Value) -> Value:
    """Three registers, none of them XZR; others are undefined (K1.2)."""
    some = (Rd != 31) & (Rs != 31) & (Rn != 31)
    return some & (Rd != Rs) & (Rd != Rn) & (Rs != Rn)


def _copy(stage: int, forward: bool) -> None:
    letters = ("f" if forward else "") + STAGES[stage]
    row = f"00 011 {int(not forward)} 01 {stage:02b} 0 Rs:5 hints:2 users:2 01 Rn:5 Rd:5"
    text = f"cpy{letters}{{:whose}}{{:hints}} [{{Rd:x}}]!, [{{Rs:x}}]!, {{Rn:x}}!"
    if stage == PROLOGUE:
        a64.insn(row, text, where=_apart)(_copy_prologue(forward))
        return

    @a64.insn(row, text, where=_apart, restartable=True)
    def meaning(cpu: Cpu, Rs: Value, hints: Value, users: Value, Rn: Value, Rd: Value) -> None:
        _check_enabled(cpu)
        options = hints.zext(4) << 2 | users.zext(4)
        _check_format(cpu, stage, 0, (options, Rd, Rs, Rn))
        to, source, left = cpu.x[Rd], cpu.x[Rs], cpu.x[Rn]
        backwards = const(0, 1) if forward else cpu.nf
        rights = pin(users)

        def places(size: Value) -> tuple[Value, ...]:
            return tuple(select(backwards, start - size, start) for start in (to, source))

        def move(at: tuple[Value, ...], offsets: Offsets, piece: int) -> None:
            values = [
                cpu.load(at[1] + n, 8 * piece, unprivileged=bool(rights & 2), in_page=True)
                for n in offsets
            ]
            for n, value in zip(offsets, values, strict=True):
                cpu.store(at[0] + n, value, unprivileged=bool(rights & 1), in_page=True)

        done = cpu.local(const(0, 64))
        _step(cpu, stage, left, places, move, done)
        by = select(backwards, const(0, 64) - done.value, done.value)
        left = left - done.value
        cpu.x[Rd], cpu.x[Rs], cpu.x[Rn] = to + by, source + by, left
        _again(cpu, left)


def _copy_prologue(forward: bool) -> Callable[..., None]:
    def meaning(cpu: Cpu, Rs: Value, hints: Value, users: Value, Rn: Value, Rd: Value) -> None:
        _check_enabled(cpu)
        to, source, size = cpu.x[Rd], cpu.x[Rs], cpu.x[Rn]
        most = MOST_FORWARD if forward else MOST_COPIED
        left = select(size.uge(most), const(most, 64), size)
        if forward:
            cpu.x[Rn] = left
            set_flags(cpu, 0, 0, 1, 0)
            return
        # Backwards where the source would be overwritten before it is read.
        start, target = source & ADDRESS, to & ADDRESS
        backwards = start.ult(target) & target.ult((start + left) & ADDRESS)
        by = select(backwards, left, 0)
        cpu.x[Rd], cpu.x[Rs], cpu.x[Rn] = to + by, source + by, left
        set_flags(cpu, backwards, 0, 1, 0)

    return meaning


# -- setting


def _apart_but_value(Rd: Value, Rs: Value, Rn: Value, **_: Value) -> Value:
    """Like `_apart`, but the value stored may be XZR."""
    return (Rd != 31) & (Rn != 31) & (Rd != Rs) & (Rd != Rn) & (Rs != Rn)


def _set(stage: int) -> None:
    row = f"00 011 0 01 11 0 Rs:5 {stage:02b} hint:1 user:1 01 Rn:5 Rd:5"
    text = f"set{STAGES[stage]}{{:user}}{{:hint}} [{{Rd:x}}]!, {{Rn:x}}!, {{Rs:x}}"
    if stage == PROLOGUE:
        a64.insn(row, text, where=_apart_but_value)(_set_prologue)
        return

    @a64.insn(row, text, where=_apart_but_value, restartable=True)
    def meaning(cpu: Cpu, Rs: Value, hint: Value, user: Value, Rn: Value, Rd: Value) -> None:
        _check_enabled(cpu)
        options = hint.zext(4) << 1 | user.zext(4)
        _check_format(cpu, stage, IS_SET, (options, Rd, Rs, Rn))
        to, left, byte = cpu.x[Rd], cpu.x[Rn], cpu.x[Rs].trunc(8)
        whose = bool(pin(user))

        def move(at: tuple[Value, ...], offsets: Offsets, piece: int) -> None:
            for n in offsets:
                cpu.store(at[0] + n, splat(byte, piece), unprivileged=whose, in_page=True)

        done = cpu.local(const(0, 64))
        _step(cpu, stage, left, lambda size: (to,), move, done)
        left = left - done.value
        cpu.x[Rd], cpu.x[Rn] = to + done.value, left
        _again(cpu, left)


def _set_prologue(cpu: Cpu, Rs: Value, hint: Value, user: Value, Rn: Value, Rd: Value) -> None:
    _check_enabled(cpu)
    size = cpu.x[Rn]
    cpu.x[Rn] = select(size.uge(MOST_SET), const(MOST_SET, 64), size)
    set_flags(cpu, 0, 0, 1, 0)


for _stage in (PROLOGUE, MAIN, EPILOGUE):
    _copy(_stage, forward=True)
    _copy(_stage, forward=False)
    _set(_stage)
