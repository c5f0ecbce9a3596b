"""A vCPU that executes traces: registers, memory through the ISA's translation, traps."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from ...ir.access import Access, Space
from ...ir.evaluate import Machine, Trap, call, evaluate
from ...ir.requests import RegisterUse
from ...ir.softfloat import Environment
from ...isa.contract import (
    FETCH,
    GUARDED,
    LOAD,
    PAGE,
    PART,
    STORE,
    UNPRIVILEGED,
    UNREADABLE,
    UPDATE,
    Hooks,
)
from ...isa.describe import Decoded, Isa
from ...isa.trace import Routine
from ...seam import Mmio, Pio, RegisterAccess
from ..memory import Memory
from ..register_access import fill
from .state import Registers

__all__ = ["Core", "NeedsBoard"]

POLL = 64  # instructions between two looks at the time


class NeedsBoard(Exception):
    """The current instruction needs the board's answer and will then be executed again."""

    def __init__(self, access: Mmio | Pio | RegisterAccess):
        self.access = access


class Core(Machine):
    """One vCPU. The ISA's routines translate, take traps and choose interrupts.

    An instruction that reads from a device is executed again from its start once the board has
    answered; ``answers`` are the answers so far, and ``fault`` says that the last one was that
    nothing is there. ``wanted`` is the reason for which an instruction, now complete, needs the
    board; ``asked`` are the arguments, such as the address of one that may be repeated.
    """

    def __init__(self, isa: Isa, memory: Memory, clock: Callable[[], int], features: int = -1):
        self.isa, self.memory, self._clock, self.features = isa, memory, clock, features
        self._hooks = Hooks.of(isa)
        self._landing = isa.landing.register if isa.landing is not None else ""
        self.registers = Registers(isa.state)
        self.environment = Environment()
        self.retired = 0
        self.answers: list[int] = []
        self.fault = False
        self.wanted = ""
        self.asked: Sequence[int] = ()
        self.waiting = False
        self.look_for_interrupts = True
        self._delivering = False
        self._replayed = 0
        self._decoded: dict[int, Decoded | None] = {}

    @property
    def pc(self) -> int:
        """The address of the current instruction."""
        return self.registers.get("pc", 0)

    @pc.setter
    def pc(self, value: int) -> None:
        self.registers.set("pc", 0, value)

    # -- execution
    def step(self) -> None:
        """Take an interrupt, or execute one instruction, which may end in a trap."""
        self._replayed = 0
        if self._hooks.jump_address is not None:
            self.pc = self._call(self._hooks.jump_address, self.pc)
        try:
            if not self.answers and (self._interrupt() or self.wanted):
                return
            decoded = self._fetch()
            block = decoded.insn.variant(decoded.fields)
            target, landing = evaluate(block, decoded.fields, self)
            self.pc = self._wrapped(self.pc + decoded.length) if target is None else target
            if landing:
                self.registers.set(self._landing, 0, landing)
            self.retired += 1
        except Trap as trap:
            self.pc = self._deliver(trap.cause, trap.value)
        self.forget_answers()

    def _debugging(self) -> bool:
        """Whether instructions are examined, or accesses watched."""
        return self._hooks.examine is not None and self.registers.get("debugging", 0) != 0

    def _watch(self, address: int, size: int, kind: int, first: int = -1) -> None:
        """Call the hook ``watch`` about an access. A load is translated ``first``, as this kind."""
        for n in range(0, size, 8) if self._debugging() else ():
            begin, length = (address + n) % (1 << 64), min(8, size - n)
            for at, _ in _parts(begin, length) if first >= 0 else ():
                self._call(self._hooks.translate, at, first)
            self._call(self._hooks.watch, begin, length, kind)

    def wakes(self) -> bool:
        """Whether an interrupt that ends a wait is pending."""
        self._call(self._hooks.poll_timer)
        return bool(self._call(self._hooks.wakes))

    def repeat(self) -> None:
        """Execute the instruction that asked the board once more."""
        self.pc, self.retired = self.asked[0], self.retired - 1

    def forget_answers(self) -> None:
        """Forget the board's answers: another instruction is executed next."""
        self.answers.clear()
        self.fault = False

    def _interrupt(self) -> bool:
        if self.retired % POLL == 0:
            self._call(self._hooks.poll_timer)
            self.look_for_interrupts = True
        if not self.look_for_interrupts:
            return False
        self.look_for_interrupts = False
        cause = self._call(self._hooks.pending_interrupt)
        if cause:
            self.pc = self._deliver(cause, 0)
        return bool(cause)

    def _deliver(self, cause: int, value: int) -> int:
        """Deliver a trap, or the one that its delivery raises; the guest handler's address."""
        instead = self._hooks.fault_in_delivery
        if instead is None:
            return self._call(self._hooks.take_trap, cause, value)
        while not self.wanted:
            self._delivering = True
            try:
                return self._call(self._hooks.take_trap, cause, value)
            except Trap as second:
                self._delivering = False
                cause, value = self._call(instead, cause, second.cause), second.value
            finally:
                self._delivering = False
        return self.pc

    def renew(self) -> None:
        """Recompute derived registers after registers were set from outside."""
        self._call(self._hooks.renew)
        self.look_for_interrupts = True

    def _call(self, routine: Routine | None, *args: int) -> int:
        assert routine is not None
        return call(routine, self, *args)

    def _fetch(self) -> Decoded:
        """The instruction at pc; an undefined one traps."""
        decoded = self.decode(executes=True)
        if decoded is None:
            self._call(self._hooks.undefined)
            raise AssertionError("the routine for undefined instructions did not trap")
        return decoded

    def decode(self, executes: bool = False) -> Decoded | None:
        """Fetch and decode the instruction at pc, reading no bytes beyond its length; None if it is
        undefined. Who ``executes`` it next looks for breakpoints."""
        isa, mode, pc = self.isa, self._mode(), self.pc
        if pc % isa.granule:
            self._call(self._hooks.misaligned, FETCH, pc)
        room = PAGE - pc % PAGE
        page = self._call(self._hooks.translate, pc, FETCH)
        raw = self._part(page, pc, min(isa.fetch, room), FETCH)
        if executes and self._debugging():
            self.look_for_interrupts = True
            if not self.answers and self._call(self._hooks.examined, pc):
                self._call(self._hooks.examine)
        if self._landing:
            guarded = bool(page & GUARDED)
            mode += guarded
            self._land(raw, guarded)
        word, length = isa.word_of(raw, mode)
        if min(length, isa.fetch) > room:
            rest = isa.fetch - room
            raw |= self._read(self._wrapped(pc + room), rest, FETCH) << 8 * room
            word, _ = isa.word_of(raw, mode)
        if word not in self._decoded:
            self._decoded[word] = isa.decode(word, self.features)
        return self._decoded[word]

    def _land(self, raw: int, guarded: bool) -> None:
        """Call the hook ``landed`` about an indirect jump that led here, if the page is guarded."""
        if not self.registers.get(self._landing, 0):
            return
        if guarded:
            assert self._hooks.landed is not None
            self._call(self._hooks.landed, raw)
        else:
            self.registers.set(self._landing, 0, 0)

    def _mode(self) -> int:
        """The number of the decode mode."""
        hook = self._hooks.decode_mode
        return self._call(hook) if hook is not None else 0

    def _wrapped(self, pc: int) -> int:
        """The address after an instruction, wrapped to the decode mode's program counter."""
        return pc & ((1 << self.isa.modes[self._mode()].pc_bits) - 1)

    # -- Machine: registers and the engine
    def get(self, file: str, index: int) -> int:
        return self.registers.get(file, index)

    def set(self, file: str, index: int, value: int) -> None:
        self.registers.set(file, index, value)

    def host(self, name: str, args: Sequence[int]) -> int:
        match name:
            case "time_ns":
                return self._clock()
            case "instret":
                return self.retired
            case "is_memory":
                return int(self.memory.find(args[0], 1) is not None)
            case "is_ram":
                return int(self.memory.find(args[0], 1, write=True) is not None)
            case "flush" | "flush_fetch" | "flush_spaces" | "flush_space" | "flush_pages":
                return 0  # nothing is cached
            case "fence_code" | "tell_pages" | "tell_code":
                return 0  # nor by others
            case "heard" | "fence_line":
                return 1
            case "relax":
                return 0  # vCPUs take turns
            case "random":
                return secrets.randbits(64)
            case "shared":
                return 0  # they cache nothing that others would have to forget
        raise NotImplementedError(f"the engine's {name}")

    def leave(self, reason: str, args: Sequence[int]) -> None:
        match reason:
            case "reference":
                pass  # it is here already
            case "halt" | "firmware call" | "outputs":
                self.wanted = reason
            case "semihosting" | "register":
                self.wanted, self.asked = reason, tuple(args)
            case "shoot down":
                pass  # nothing is cached
            case _:
                raise NotImplementedError(f"an instruction that leaves: {reason}")

    def sync(self) -> None:
        self.look_for_interrupts = True

    # -- Machine: memory
    def load(self, address: int, access: Access) -> int:
        if (asked := _asking(address, access, LOAD)) is not None:
            return self._answer(asked) & ((1 << access.width) - 1)
        if access.space is Space.PHYSICAL:
            raw = int.from_bytes(self._physical(address, access, LOAD), "little")
        else:
            kind = _kind(access, LOAD)
            self._check_aligned(address, access, kind)
            self._watch(address, access.size, kind | PART * access.piecewise, kind)
            raw = self._read(address, access.size, kind)
        return _in_order(raw, access)

    def store(self, address: int, value: int, access: Access) -> None:
        if (asked := _asking(address, access, STORE, value)) is not None:
            self._answer(asked)
            return
        value, size = _in_order(value, access), access.size
        if access.space is Space.PHYSICAL:
            self._physical(address, access, STORE)[:] = value.to_bytes(size, "little")
            return
        kind = _kind(access, STORE)
        self._check_aligned(address, access, kind)
        parts = _parts(address, size)
        places = [self._translate(at, kind) for at, _ in parts]
        self._watch(address, size, kind | PART * access.piecewise)
        for place, (at, count) in zip(places, parts, strict=True):
            piece = value >> 8 * (at - address) & ((1 << 8 * count) - 1)
            memory = self.memory.find(place, count, write=True)
            if memory is None:
                self._board(Mmio(place, count, True, piece), kind, at)
            else:
                memory[:] = piece.to_bytes(count, "little")

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        if access.space is Space.PHYSICAL:
            memory = self._physical(address, access, STORE)
        else:
            kind = _kind(access, STORE)
            self._check_aligned(address, access, kind)
            page = self._call(self._hooks.translate, address, kind)
            if page & UNREADABLE and access.reads:
                self._call(self._hooks.translate, address, _kind(access, LOAD))
            memory = self._memory(page & -PAGE | address % PAGE, access.size, kind, address)
            self._watch(address, access.size, kind | (UPDATE if access.reads else 0))
        old = _in_order(int.from_bytes(memory, "little"), access)
        memory[:] = _in_order(change(old), access).to_bytes(access.size, "little")
        return old

    def _check_aligned(self, address: int, access: Access, kind: int) -> None:
        if not address % access.size:
            return
        if access.aligned:
            self._call(self._hooks.misaligned, kind, address)
        elif self._hooks.unaligned is not None and not access.in_page:
            self._call(self._hooks.unaligned, kind, address)

    def _physical(self, address: int, access: Access, kind: int) -> memoryview:
        """Guest-physical memory at an aligned address, or an access fault."""
        if address % access.size:
            self._call(self._hooks.access_fault, kind, address)
        return self._memory(address, access.size, kind, address)

    def _memory(self, place: int, size: int, kind: int, address: int) -> memoryview:
        memory = self.memory.find(place, size, write=kind % 4 == STORE)
        if memory is None:
            self._call(self._hooks.access_fault, kind, address)
            raise AssertionError("the routine for access faults did not trap")
        return memory

    def _translate(self, address: int, kind: int) -> int:
        page = self._call(self._hooks.translate, address, kind)
        return page & -PAGE | address % PAGE

    def _read(self, address: int, size: int, kind: int) -> int:
        value = 0
        for at, count in _parts(address, size):
            page = self._call(self._hooks.translate, at, kind)
            value |= self._part(page, at, count, kind) << 8 * (at - address)
        return value

    def _part(self, page: int, address: int, size: int, kind: int) -> int:
        """The value of an access within one page, which has been translated to ``page``."""
        place = page & -PAGE | address % PAGE
        memory = self.memory.find(place, size)
        if memory is not None:
            return int.from_bytes(memory, "little")
        if kind == FETCH:
            self._call(self._hooks.access_fault, kind, address)
        return self._board(Mmio(place, size), kind, address) & ((1 << 8 * size) - 1)

    def _board(self, access: Mmio, kind: int, address: int) -> int:
        """The board's answer to an access. An access fault if nothing is there, and for any access
        to a device while a trap is delivered."""
        if self._hooks.unaligned is not None and address % access.size:
            self._call(self._hooks.misaligned, kind, address)
        if self._delivering:
            self._call(self._hooks.access_fault, kind, address)
        answer = self._answer(access)
        if self.fault and self._replayed == len(self.answers):
            self._call(self._hooks.access_fault, kind, address)
        return answer

    def _answer(self, access: Mmio | Pio | RegisterAccess) -> int:
        if self._replayed == len(self.answers):
            raise NeedsBoard(access)
        self._replayed += 1
        return self.answers[self._replayed - 1]


def _asking(address: int, access: Access, kind: int, value: int = 0) -> Pio | RegisterAccess | None:
    """The exit for an access to a space in which there are devices alone."""
    match access.space:
        case Space.PORT:
            return Pio(address, access.size, kind == STORE, value)
        case Space.BOARD:
            return fill(RegisterAccess(), address, RegisterUse(kind == STORE), value)
    return None


def _kind(access: Access, kind: int) -> int:
    return kind | UNPRIVILEGED if access.unprivileged else kind


def _in_order(value: int, access: Access) -> int:
    """Swap a value's bytes if the access is big-endian."""
    if not access.big_endian:
        return value
    return int.from_bytes(value.to_bytes(access.size, "little"), "big")


def _parts(address: int, size: int) -> list[tuple[int, int]]:
    """The parts of an access as address and size: words of at most 8 bytes, or single bytes if it
    crosses a page boundary."""
    if size > 8:
        return _parts(address, 8) + _parts((address + 8) % (1 << 64), size - 8)
    if address % PAGE + size <= PAGE:
        return [(address, size)]
    return [((address + n) % (1 << 64), 1) for n in range(size)]
