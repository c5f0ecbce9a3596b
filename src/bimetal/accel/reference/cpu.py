"""The reference behind the seam: `ReferenceCpu` is a `seam.Cpu`, `Reference` an accelerator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ...base.clock import Clock
from ...isa.contract import Architecture, Start
from ...isa.names import architecture
from ...seam import Exit, FirmwareCall, Halt, Kicked, MemorySlot, Mmio, Outputs, Semihosting
from ..saved import Saved
from .hart import Hart, NeedsBoard
from .memory import Memory
from .outside import Onlooker, SeenMemory, read_register, translate, write_register

__all__ = ["Reference", "ReferenceCpu"]


class ReferenceCpu:
    """A hart that runs in Python."""

    def __init__(self, architecture: Architecture, start: Start, memory: Memory, clock: Clock):
        self.index = start.index
        self.hart = Hart(architecture.isa, memory, clock.now_ns)
        self._architecture, self._start, self._clock = architecture, start, clock
        self._exit: Exit | None = None
        self._kicked = False
        self.reset()

    @property
    def register_names(self) -> Sequence[str]:
        """Every register that a person can name."""
        return self.hart.isa.register_names()

    def run(self) -> Exit:
        """Execute instructions until the board is needed."""
        self._settle()
        while not self._kicked:
            if self.hart.waiting and not self.hart.wakes():
                return self._wanted("halt")
            self.hart.waiting = False
            try:
                self.hart.step()
            except NeedsBoard as needs:
                self._exit = needs.access
                return self._exit
            if self.hart.wanted:
                self._exit = self._wanted(self.hart.wanted)
                self.hart.wanted = ""
                return self._exit
        self._kicked = False
        return Kicked()

    def _wanted(self, reason: str) -> Exit:
        registers = self.hart.registers
        if reason == "halt":
            return Halt(self._architecture.deadline(registers))
        if reason == "semihosting":
            operation, parameter = (registers.get(*at) for at in self._architecture.arguments[:2])
            return Semihosting(operation, parameter, self._architecture.deadline(registers))
        if reason == "outputs":
            return Outputs(self._architecture.levels(registers))
        return FirmwareCall(tuple(registers.get(*place) for place in self._architecture.arguments))

    def _settle(self) -> None:
        """Give the board's answer to the instruction that waits for it."""
        match self._exit:
            case Mmio(value=value, fault=fault):
                self.hart.answers.append(value)
                self.hart.fault = fault
            case FirmwareCall(results=results):
                for place, value in zip(self._architecture.results, results, strict=False):
                    self.hart.registers.set(*place, value & (1 << 64) - 1)
            case Semihosting(refused=refused, again=again) if refused or again:
                self.hart.repeat()
                if refused:
                    self.hart.registers.set("semihosting", 0, 0)
            case Semihosting(result=result):
                self.hart.registers.set(*self._architecture.results[0], result & (1 << 64) - 1)
        self._exit = None

    def _settle_call(self) -> None:
        if isinstance(self._exit, FirmwareCall) and self._exit.results:
            self._settle()

    def kick(self) -> None:
        """Make the current, or else the next, `run` return `Kicked` soon."""
        self._kicked = True

    def set_line(self, line: int, level: bool) -> None:
        """Drive an interrupt input."""
        self.hart.registers.set(self._architecture.inputs, line, int(level))
        self.hart.look_for_interrupts = True

    def suspend(self) -> None:
        """See `Suspendable.suspend`."""
        self.hart.waiting = True

    @property
    def suspended(self) -> bool:
        """See `Suspendable.suspended`."""
        return self.hart.waiting

    def flush(self) -> None:
        """Nothing of the guest's memory is cached."""

    def reset(self) -> None:
        """Put every register into its reset state."""
        self.hart.registers.reset()
        self._architecture.reset(self.hart.registers, self._start)
        self._abandon()
        self.hart.environment.flags = self.hart.retired = 0
        self.hart.renew()

    def read_register(self, name: str) -> int:
        """A register as an unsigned integer; KeyError for a name that the CPU does not have."""
        self._settle_call()
        return read_register(self.hart.isa, name, self.hart)

    def write_register(self, name: str, value: int) -> None:
        """Set a register; OverflowError if the value does not fit."""
        self._settle_call()
        write_register(self.hart.isa, name, value, self.hart)
        if name == "pc":
            self._abandon()
        self.hart.renew()

    def _abandon(self) -> None:
        """Another instruction is next than the one that waits for an answer."""
        self._exit, self.hart.waiting = None, False
        self.hart.forget_answers()

    def translate(self, address: int, *, write: bool = False) -> int | None:
        """See `Translating.translate`."""
        hart, seen = self.hart, SeenMemory(self.hart.memory)
        environment, now_ns = hart.environment, self._clock.now_ns
        onlooker = Onlooker(hart.registers, seen, hart.pc, environment, now_ns, hart.retired)
        return translate(hart.isa, address, write, onlooker)

    def save(self) -> Mapping[str, object]:
        """The whole state as plain values."""
        self._settle()
        hart = self.hart
        files = {name: list(values) for name, values in hart.registers.files.items()}
        flags, answers = hart.environment.flags, list(hart.answers)
        return Saved(files, flags, hart.retired, answers, hart.fault, hart.waiting).plain()

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned."""
        saved, hart = Saved.read(self._architecture.isa, state), self.hart
        self._abandon()
        hart.registers.files = saved.registers
        hart.environment.flags, hart.retired = saved.flags, saved.retired
        hart.answers, hart.fault, hart.waiting = saved.answers, saved.fault, saved.waited
        hart.renew()

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
    ):
        self._architecture, self._clock = architecture(isa), clock
        self._start = Start(0, firmware_calls, model or self._architecture.models[0], hypervisor)
        self._memory = Memory()

    def add_cpu(self, index: int) -> ReferenceCpu:
        """A hart in its reset state."""
        start = replace(self._start, index=index)
        return ReferenceCpu(self._architecture, start, self._memory, self._clock)

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """Replace the memory slots of all harts."""
        self._memory.replace(slots)

    def close(self) -> None:
        """Let go of the slots."""
        self._memory.replace(())
