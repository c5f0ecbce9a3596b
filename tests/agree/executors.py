"""The executors under test. Whoever runs RISC-V instructions adds itself to `EXECUTORS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.ir.evaluate import Access, Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.riscv import rv64

from .state import DATA, Case, Executor, State

__all__ = ["EXECUTORS", "ReferenceExecutor"]

FS_DIRTY = 3 << 13
MACHINE = 3
LOAD_MISALIGNED, LOAD_ACCESS, STORE_MISALIGNED, STORE_ACCESS = 4, 5, 6, 7


class Window:
    """The 64 bytes at `DATA`; anything else faults."""

    def __init__(self, content: bytes):
        self.bytes = bytearray(content)

    def _find(self, address: int, access: Access, misaligned: int, outside: int) -> slice:
        size = access.width // 8
        if access.aligned and address % size:
            raise Trap(misaligned, address)
        if not DATA <= address <= DATA + len(self.bytes) - size:
            raise Trap(outside, address)
        return slice(address - DATA, address - DATA + size)

    def load(self, address: int, access: Access) -> int:
        """See `GuestMemory`."""
        place = self._find(address, access, LOAD_MISALIGNED, LOAD_ACCESS)
        return int.from_bytes(self.bytes[place], "little")

    def store(self, address: int, value: int, access: Access) -> None:
        """See `GuestMemory`."""
        place = self._find(address, access, STORE_MISALIGNED, STORE_ACCESS)
        self.bytes[place] = value.to_bytes(access.width // 8, "little")

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        """See `GuestMemory`."""
        place = self._find(address, access, STORE_MISALIGNED, STORE_ACCESS)
        old = int.from_bytes(self.bytes[place], "little")
        self.bytes[place] = change(old).to_bytes(access.width // 8, "little")
        return old


class ReferenceExecutor:
    """Evaluates the traces of descriptions."""

    name = "reference"

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> State:
        before = dict(case.before.registers)
        environment = Environment(before.pop("frm", 0), before.pop("fflags", 0))
        registers = Registers(rv64.state)
        registers.set("priv", 0, MACHINE)
        registers.set("mstatus", 0, FS_DIRTY)
        registers.set("frm", 0, environment.rounding)
        registers.set("fp_ready", 0, int(environment.rounding < 4))
        for name, value in before.items():
            registers.write(name, value)
        memory = Window(case.before.memory)
        decoded = rv64.decode(case.word)
        assert decoded is not None, f"{case.word:#x} is no instruction"
        trap = None
        try:
            pc = evaluate_insn(decoded, registers, memory, registers.read("pc"), environment)
            registers.write("pc", pc % (1 << 64))
        except Trap as raised:
            trap = raised.cause
        after = {name: registers.read(name) for name in before}
        after |= {"frm": registers.read("frm"), "fflags": environment.flags}
        return State(after, bytes(memory.bytes), trap)


EXECUTORS: tuple[Executor, ...] = (ReferenceExecutor(),)
