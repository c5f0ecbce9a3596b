"""The accelerator that plays scripts: what board tests take for a guest must behave like one."""

from __future__ import annotations

import ctypes

from bimetal.accel.script import ScriptAccelerator, ScriptCpu, halt_until
from bimetal.accel.script import Step as ScriptStep
from bimetal.seam import Accelerator, Cpu, Exit, MemorySlot, Mmio, Pio
from tests.accel.seam.bed import Bed, Board
from tests.accel.seam.guests import (
    In,
    Load,
    Nop,
    Out,
    Program,
    Put,
    Spin,
    SpinWhileZero,
    Step,
    Store,
    Wait,
)

__all__ = ["ScriptBed"]

ENTRY, LINE = 0x1000, 1
A_LIST = "a script is a list of exits: nothing runs between them"


class Player:
    """Steps of a program as steps of a script; ``accumulator`` is the one of the guest."""

    def __init__(self, accelerator: ScriptAccelerator):
        self.accelerator = accelerator
        self.accumulator, self.answered_by_board = 0, False

    def play(self, step: Step) -> list[ScriptStep]:
        match step:
            case Store(address, value, size):
                return [lambda cpu: self.store(address, size, value)]
            case Put(address, size):
                return [lambda cpu: self.store(address, size, self.accumulator)]
            case Load(address, size):
                return [lambda cpu: self.load(address, size), self.answered]
            case Out(port, value, size):
                return [Pio(port, size, True, value)]
            case In(port, size):
                return [lambda cpu: self.ask(Pio(port, size)), self.answered]
            case Wait():
                return [halt_until(LINE)]
            case Nop() | Spin() | SpinWhileZero():
                return []

    def load(self, address: int, size: int) -> Exit | None:
        slot = self.find(address)
        if slot is None:
            return self.ask(Mmio(address, size))
        data = ctypes.string_at(slot.host + address - slot.base, size)
        self.accumulator, self.answered_by_board = int.from_bytes(data, "little"), False
        return None

    def ask(self, exit: Exit) -> Exit:
        self.answered_by_board = True
        return exit

    def answered(self, cpu: ScriptCpu) -> None:
        if self.answered_by_board:
            answer = cpu.answers[-1]
            assert isinstance(answer, int)
            self.accumulator = answer

    def store(self, address: int, size: int, value: int) -> Exit | None:
        """A store: into memory, or out to the board."""
        slot = self.find(address)
        if slot is None or slot.readonly:
            return Mmio(address, size, True, value)
        ctypes.memmove(slot.host + address - slot.base, value.to_bytes(size, "little"), size)
        return None

    def find(self, address: int) -> MemorySlot | None:
        """The slot that ``address`` lies in."""
        slots = self.accelerator.slots
        return next((each for each in slots if 0 <= address - each.base < each.size), None)


class ScriptBed(Bed):
    """Script CPUs that play programs."""

    name = "script"
    ram = 0x8000_0000
    device = 0x1000_0000
    line = LINE
    pc = "pc"
    scratch = "scratch"
    missing = {
        "threads": A_LIST,
        "interrupts": A_LIST,
        "second cpu": A_LIST,
        "registers": "a script has registers of any name",
        "reset": "a script goes on where it was",
        "lasting halts": A_LIST,
    }

    def accelerator(self, cpus: int) -> Accelerator:
        return ScriptAccelerator(*([] for _ in range(cpus)))

    def prepare(self, board: Board, cpu: Cpu, program: Program) -> None:
        assert isinstance(cpu, ScriptCpu)
        assert isinstance(board.accelerator, ScriptAccelerator)
        player = Player(board.accelerator)
        cpu.script = [played for step in program.steps for played in player.play(step)]
        cpu.write_register("pc", self.entry(cpu.index))

    def entry(self, index: int) -> int:
        return self.ram + ENTRY
