"""An accelerator that plays a script, for board tests that need no guest.

    cpu = ScriptCpu([Mmio(0x1000_0000, 1, write=True, value=65), Halt()])

Each `run` returns the next exit of the script and records what happened: the board's answers and
the lines that it raised. After its last exit the CPU halts and never wakes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from bimetal.seam import Exit, FirmwareCall, Halt, Kicked, MemorySlot, Mmio, Pio, RegisterAccess

__all__ = ["ScriptAccelerator", "ScriptCpu", "Step", "halt_until"]

Step = Exit | Callable[["ScriptCpu"], Exit | None]
"""An exit, or a function that does something (such as look at a line) and may return an exit."""


def halt_until(line: int) -> Step:
    """A step that halts until ``line`` is high, as a guest does that waits for an interrupt."""

    def step(cpu: ScriptCpu) -> Exit | None:
        if cpu.lines[line]:
            return None
        cpu.repeat()
        return Halt()

    return step


class ScriptCpu:
    """A CPU that plays a list of exits.

    ``answers`` collects the values of reads and the results of firmware calls, ``lines`` shows the
    level of each interrupt line, ``history`` every change as (line, level). Registers take any
    name.
    """

    def __init__(self, script: Iterable[Step] = (), index: int = 0):
        self.index = index
        self.script = list(script)
        self.answers: list[object] = []
        self.lines: dict[int, bool] = defaultdict(bool)
        self.history: list[tuple[int, bool]] = []
        self.registers: dict[str, int] = defaultdict(int)
        self.slots: list[MemorySlot] = []
        self.flushes = self.resets = 0
        self.closed = False
        self._next = 0
        self._kicked = False
        self._asked: Exit | None = None

    @property
    def finished(self) -> bool:
        """Whether every exit of the script has been played and answered."""
        return self._next == len(self.script) and self._asked is None

    @property
    def register_names(self) -> Sequence[str]:
        """The registers that have been read or written so far."""
        return sorted(self.registers)

    def run(self) -> Exit:
        """See `Cpu.run`."""
        self._note_answer()
        if self._kicked:
            self._kicked = False
            return Kicked()
        while self._next < len(self.script):
            step = self.script[self._next]
            self._next += 1
            exit_ = step if isinstance(step, Exit) else step(self)
            if exit_ is not None:
                self._asked = exit_
                return exit_
        return Halt()

    def repeat(self) -> None:
        """Let the step that is being played be the next one too."""
        self._next -= 1

    def _note_answer(self) -> None:
        asked, self._asked = self._asked, None
        if isinstance(asked, RegisterAccess):
            self.answers += [asked.value] if asked.read else []
        elif isinstance(asked, Mmio | Pio) and not asked.write:
            self.answers.append(asked.value)
        elif isinstance(asked, FirmwareCall):
            self.answers.append(asked.results)

    def kick(self) -> None:
        """See `Cpu.kick`."""
        self._kicked = True

    def set_line(self, line: int, level: bool) -> None:
        """See `Cpu.set_line`."""
        self.lines[line] = level
        self.history.append((line, level))

    def flush(self) -> None:
        """See `Cpu.flush`."""
        self.flushes += 1

    def reset(self) -> None:
        """See `Cpu.reset`. The script continues where it was."""
        self.resets += 1
        self.registers.clear()
        self._asked = None

    def read_register(self, name: str) -> int:
        """See `Cpu.read_register`."""
        if name not in self.registers:
            raise KeyError(name)
        return self.registers[name]

    def write_register(self, name: str, value: int) -> None:
        """See `Cpu.write_register`."""
        if not 0 <= value < 1 << 64:
            raise OverflowError(f"{value:#x} does not fit in {name} (64 bits)")
        self.registers[name] = value

    def save(self) -> Mapping[str, object]:
        """See `Cpu.save`."""
        return {"registers": dict(self.registers), "next": self._next}

    def load(self, state: Mapping[str, object]) -> None:
        """See `Cpu.load`."""
        registers, position = state["registers"], state["next"]
        if not isinstance(registers, Mapping) or not isinstance(position, int):
            raise TypeError(f"not the state of a ScriptCpu: {state!r}")
        self.registers.clear()
        self.registers.update(registers)
        self._next = position
        self._asked = None

    def close(self) -> None:
        """See `Cpu.close`."""
        self.closed = True


class ScriptAccelerator:
    """Gives CPU n the n-th of ``scripts``, and an empty script if there are fewer."""

    name = "script"

    def __init__(self, *scripts: Iterable[Step]):
        self._scripts = [list(script) for script in scripts]
        self.cpus: list[ScriptCpu] = []
        self.slots: list[MemorySlot] = []
        self.closed = False

    def add_cpu(self, index: int) -> ScriptCpu:
        """See `Accelerator.add_cpu`."""
        cpu = ScriptCpu(self._scripts[index] if index < len(self._scripts) else (), index)
        self.cpus.append(cpu)
        return cpu

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """See `Accelerator.set_memory`."""
        self.slots = list(slots)

    def quiet(self) -> AbstractContextManager[object]:
        """See `Forkable.quiet`."""
        return nullcontext()

    def forked(self) -> None:
        """See `Forkable.forked`."""

    def begun(self) -> None:
        """See `Forkable.begun`."""

    def areas(self) -> Iterable[tuple[int, int]]:
        """See `Forkable.areas`."""
        return ()

    def close(self) -> None:
        """See `Accelerator.close`."""
        for cpu in self.cpus:
            cpu.close()
        self.closed = True
