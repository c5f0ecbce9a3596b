"""The executors under test. Whoever runs RISC-V instructions adds itself to `EXECUTORS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bimetal.accel.choose import create
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.base.clock import VirtualClock
from bimetal.codegen.policy import stressed
from bimetal.ir.access import Access
from bimetal.ir.evaluate import Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Halt, MemorySlot

from .state import CODE, DATA, Case, Executor, State

__all__ = ["BASE", "EXECUTORS", "CpuExecutor", "ReferenceExecutor", "Window"]

BASE, END = CODE - 0x1000, DATA + 0x1000
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


class CpuExecutor:
    """A CPU of the seam: the instruction stands alone, and every way out of it leads to a trap.

    Before it, fcsr is set from t6; what follows it and where it jumps to is no instruction or no
    memory at all. The trap handler reads fcsr into t5 and halts.
    """

    def __init__(self, accel: str):
        self.name = accel

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        accelerator = self._accelerator()
        ram = Ram("ram", END - BASE)
        handler = rv64.assemble("csrrs t5, 0x3, zero") + rv64.assemble("wfi")
        ram.bytes[: len(handler)] = handler
        try:
            accelerator.set_memory([MemorySlot(BASE, END - BASE, ram.host)])
            return self.on(accelerator.add_cpu(0), ram.bytes, cases)
        finally:
            accelerator.close()
            ram.close()

    def _accelerator(self) -> Accelerator:
        return create(self.name, "riscv64", clock=VirtualClock(), firmware_calls=False, cpus=1)

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """Execute the cases on a CPU with this memory from `BASE` on."""
        return [self.one(cpu, memory, case) for case in cases]

    def one(self, cpu: Cpu, memory: memoryview, case: Case) -> State:
        """Execute one case."""
        code = rv64.assemble("csrrw zero, 0x3, t6") + case.word.to_bytes(4, "little") + bytes(4)
        start, window = CODE - 4 - BASE, slice(DATA - BASE, DATA - BASE + 64)
        memory[start : start + len(code)] = code
        memory[window] = case.before.memory
        before = dict(case.before.registers)
        fcsr = before.pop("frm") << 5 | before.pop("fflags")
        names = [name for name in before if name != "pc"]
        state = {name: before[name] for name in names}
        state |= {"t6": fcsr, "pc": CODE - 4, "mtvec": BASE, "mstatus": FS_DIRTY}
        for name, value in state.items():
            cpu.write_register(name, value)
        cpu.flush()
        assert isinstance(cpu.run(), Halt)
        after = {name: cpu.read_register(name) for name in names}
        fcsr, pc = cpu.read_register("t5"), cpu.read_register("mepc")
        after |= {"fflags": fcsr & 31, "frm": fcsr >> 5, "pc": pc}
        trap = cpu.read_register("mcause") if pc == CODE else None
        return State(after, bytes(memory[window]), trap)


class RunExecutor(CpuExecutor):
    """The translator, which makes everything part of a run."""

    def __init__(self) -> None:
        super().__init__("runs")

    def _accelerator(self) -> Accelerator:
        return JitAccelerator("riscv64", clock=VirtualClock(), policy=stressed("runs"))


EXECUTORS: tuple[Executor, ...] = (ReferenceExecutor(), CpuExecutor("interp"), RunExecutor())
