"""The reference behind the seam: `ReferenceCpu` is a `seam.Cpu`, `Reference` an accelerator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from ...base.clock import Clock
from ...ir.evaluate import Trap
from ...isa.contract import Architecture, Start
from ...isa.names import architecture
from ...seam import (
    Exit,
    FirmwareCall,
    Halt,
    Kicked,
    MemorySlot,
    Mmio,
    Outputs,
    Pio,
    RegisterAccess,
    Semihosting,
)
from ..memory import Memory
from ..outside import Onlooker, SeenMemory, read_register, translate, write_register
from ..register_access import fill
from ..saved import Saved
from .core import Core, NeedsBoard

__all__ = ["Reference", "ReferenceCpu"]


class ReferenceCpu:
    """A vCPU that runs in Python."""

    def __init__(self, architecture: Architecture, start: Start, memory: Memory, clock: Clock):
        self.index = start.index
        features = architecture.features(start.model)
        self.core = Core(architecture.isa, memory, clock.now_ns, features)
        self.core.environment.notes_subnormal = architecture.notes_subnormal
        self._architecture, self._start, self._clock = architecture, start, clock
        self._exit: Exit | None = None
        self._repeated = False
        self._kicked = False
        self.reset()

    @property
    def register_names(self) -> Sequence[str]:
        """See `Cpu.register_names`."""
        return self.core.isa.register_names()

    def run(self) -> Exit:
        """Execute instructions until the board is needed."""
        self._settle()
        while not self._kicked:
            if self.core.waiting and not self.core.wakes():
                return self._wanted("halt")
            self.core.waiting = False
            try:
                self.core.step()
            except NeedsBoard as needs:
                self._exit, self._repeated = needs.access, True
                return self._exit
            if self.core.wanted:
                self._exit = self._wanted(self.core.wanted)
                self.core.wanted = ""
                return self._exit
        self._kicked = False
        return Kicked()

    def is_described(self) -> bool:
        """Whether the next instruction is one that is described, or cannot even be fetched."""
        try:
            return self.core.decode() is not None
        except Trap:
            return True

    def extension(self) -> str:
        """The extension to which the next instruction belongs, "" if it has none."""
        try:
            decoded = self.core.decode()
        except Trap:
            decoded = None
        return decoded.insn.extension if decoded is not None else ""

    def step(self) -> Exit | None:
        """Take an interrupt, or execute one instruction: the access that the board has to answer
        first, or None once it is complete."""
        self._settle()
        try:
            self.core.step()
        except NeedsBoard as needs:
            self._exit, self._repeated = needs.access, True
            return self._exit
        return None

    def _wanted(self, reason: str) -> Exit:
        registers = self.core.registers
        if reason == "halt":
            return Halt(self._architecture.deadline(registers))
        if reason == "semihosting":
            operation, parameter = (registers.get(*at) for at in self._architecture.arguments[:2])
            return Semihosting(operation, parameter, self._architecture.deadline(registers))
        if reason == "outputs":
            return Outputs(self._architecture.levels(registers))
        if reason == "register":
            return fill(RegisterAccess(), *self.core.asked[:3])
        return FirmwareCall(tuple(registers.get(*place) for place in self._architecture.arguments))

    def _settle(self) -> None:
        """Hand the board's answer to the instruction that waits for it."""
        match self._exit:
            case Mmio(value=value, fault=fault):
                self.core.answers.append(value)
                self.core.fault = fault
            case Pio(value=value):
                self.core.answers.append(value)
            case RegisterAccess(value=value) if self._repeated:
                self.core.answers.append(value & (1 << 64) - 1)
            case FirmwareCall(results=results):
                for place, value in zip(self._architecture.results, results, strict=False):
                    self.core.registers.set(*place, value & (1 << 64) - 1)
            case RegisterAccess(read=True, value=value):
                target, mask = self.core.asked[3], (1 << 64) - 1
                self.core.registers.set(self._architecture.accessed, target, value & mask)
            case Semihosting(refused=refused, again=again) if refused or again:
                self.core.repeat()
                if refused:
                    self.core.registers.set(self._architecture.semihosting, 0, 0)
            case Semihosting(result=result):
                self.core.registers.set(*self._architecture.results[0], result & (1 << 64) - 1)
        self._exit, self._repeated = None, False

    def _settle_call(self) -> None:
        call = isinstance(self._exit, FirmwareCall) and self._exit.results
        if call or (isinstance(self._exit, RegisterAccess) and not self._repeated):
            self._settle()

    def kick(self) -> None:
        """Make the current, or else the next, `run` return `Kicked` soon."""
        self._kicked = True

    def set_line(self, line: int, level: bool) -> None:
        """Drive an interrupt input."""
        self.core.registers.set(self._architecture.inputs, line, int(level))
        self.core.look_for_interrupts = True

    def suspend(self) -> None:
        """See `Suspendable.suspend`."""
        self.core.waiting = True

    @property
    def suspended(self) -> bool:
        """See `Suspendable.suspended`."""
        return self.core.waiting

    def flush(self) -> None:
        """Nothing of the guest's memory is cached."""

    def reset(self) -> None:
        """Put every register into its reset state."""
        self.core.registers.reset()
        self._architecture.reset(self.core.registers, self._start)
        self._abandon()
        self.core.environment.flags = self.core.retired = 0
        self.core.renew()

    def read_register(self, name: str) -> int:
        """A register as an unsigned integer; KeyError for a name that the CPU does not have."""
        self._settle_call()
        return read_register(self.core.isa, name, self.core)

    def write_register(self, name: str, value: int) -> None:
        """Set a register; OverflowError if the value does not fit."""
        self._settle_call()
        before = self.core.pc
        write_register(self.core.isa, name, value, self.core)
        if name == "pc" or self.core.pc != before:
            self._abandon()
        self.core.look_for_interrupts = True

    def _abandon(self) -> None:
        """Drop the access that waits for an answer: another instruction is executed next."""
        self._exit, self._repeated, self.core.waiting = None, False, False
        self.core.forget_answers()

    def translate(self, address: int, *, write: bool = False) -> int | None:
        """See `Translating.translate`."""
        core, seen = self.core, SeenMemory(self.core.memory)
        environment, now_ns = core.environment, self._clock.now_ns
        onlooker = Onlooker(core.registers, seen, core.pc, environment, now_ns, core.retired)
        return translate(core.isa, address, write, onlooker)

    def save(self) -> Mapping[str, object]:
        """The whole state as plain values."""
        self._settle()
        core = self.core
        files = {name: list(core.registers.files[name]) for name in core.isa.state.saved}
        flags, answers = core.environment.flags, list(core.answers)
        return Saved(files, flags, core.retired, answers, core.fault, core.waiting).plain()

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned."""
        saved, core = Saved.read(self._architecture.isa, state), self.core
        self._abandon()
        core.registers.files |= saved.registers
        core.environment.flags, core.retired = saved.flags, saved.retired
        core.answers, core.fault, core.waiting = saved.answers, saved.fault, saved.waited
        core.renew()

    def close(self) -> None:
        """There is nothing to give back."""


class Reference:
    """The accelerator, for the same ISAs as the interpreter."""

    name = "reference"

    def __init__(
        self,
        isa: str,
        *,
        clock: Clock,
        firmware_calls: bool = False,
        cpus: int = 1,
        model: str = "",
        hypervisor: bool = False,
        controller: bool = False,
    ):
        self._architecture, self._clock = architecture(isa), clock
        self._start = Start(
            0, firmware_calls, model or self._architecture.models[0], hypervisor, controller
        )
        self._memory = Memory()

    def add_cpu(self, index: int) -> ReferenceCpu:
        """A vCPU in its reset state."""
        start = replace(self._start, index=index)
        return ReferenceCpu(self._architecture, start, self._memory, self._clock)

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """Replace the memory slots of all vCPUs."""
        self._memory.replace(slots)

    def close(self) -> None:
        """Let go of the slots."""
        self._memory.replace(())
