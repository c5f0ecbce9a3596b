"""A bare machine for tests of descriptions: registers, a page of memory, one instruction a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.ir.access import Access
from bimetal.ir.evaluate import Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.describe import Isa

__all__ = ["MEMORY", "Bare"]

MEMORY = 0x2000
"""Where the page of memory stands; an access elsewhere traps with cause 99."""


class Bare:
    """Executes assembly, or encodings, on registers that are attributes by their names."""

    def __init__(self, isa: Isa, pc: int = 0x1000):
        self.isa = isa
        self.registers = Registers(isa.state)
        self.memory = bytearray(4096)
        self.environment = Environment()
        self["pc"] = pc

    def __getitem__(self, name: str) -> int:
        return self.registers.get(*self._at(name))

    def __setitem__(self, name: str, value: int) -> None:
        self.registers.set(*self._at(name), value)

    def _at(self, name: str) -> tuple[str, int]:
        """File and index of a register, of one that only the engine knows too."""
        if name in self.isa.state.files:
            return name, 0
        file, index = self.isa.state.locate(name)
        return file.name, index

    def do(self, *lines: str) -> Bare:
        """Execute instructions, wherever each of them leads."""
        for line in lines:
            self.execute(self.isa.assemble(line, self["pc"]))
        return self

    def execute(self, code: bytes) -> None:
        """Execute one instruction by its bytes in memory."""
        decoded = self.isa.read(code)
        assert decoded is not None, f"{code.hex(' ')} is no instruction"
        pc = evaluate_insn(decoded, self.registers, self, self["pc"], self.environment)
        width = self.isa.state.files["pc"].width
        self["pc"] = pc % (1 << width)

    def trap(self, line: str) -> tuple[int, int]:
        """The cause and value of the trap that an instruction raises."""
        try:
            self.do(line)
        except Trap as trap:
            return trap.cause, trap.value
        raise AssertionError(f"{line} raised no trap")

    # -- memory, as the evaluator sees it
    def _place(self, address: int, access: Access) -> slice:
        size = access.width // 8
        if not MEMORY <= address <= MEMORY + len(self.memory) - size:
            raise Trap(99, address)
        return slice(address - MEMORY, address - MEMORY + size)

    def load(self, address: int, access: Access) -> int:
        return int.from_bytes(self.memory[self._place(address, access)], _order(access))

    def store(self, address: int, value: int, access: Access) -> None:
        content = value.to_bytes(access.width // 8, _order(access))
        self.memory[self._place(address, access)] = content

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        old = self.load(address, access)
        self.store(address, change(old), access)
        return old


def _order(access: Access) -> Literal["little", "big"]:
    return "big" if access.big_endian else "little"
