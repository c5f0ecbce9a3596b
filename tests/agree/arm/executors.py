"""The executors of A64 under test: the reference, the interpreter, regions."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.accel.choose import create
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.base.clock import VirtualClock
from bimetal.codegen.policy import stressed
from bimetal.ir.evaluate import Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.arm import a64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Halt, MemorySlot

from ..single_regions import PAGE, SingleRegions
from ..state import CODE, DATA, Case, Executor, State
from ..window import Window
from .cases import MEMORY, decode

__all__ = ["EXECUTORS", "CpuExecutor", "ReferenceExecutor", "RegionExecutor", "RunExecutor"]

BASE, END = CODE - 0x1000, DATA + 0x1000
STATUS = {"fpcr": "x9", "fpsr": "x10", "nzcv": "x11"}
"""Status registers, and what they are moved through."""

SET = {name: a64.assemble(f"msr {name}, {register}") for name, register in STATUS.items()}
GET = {name: a64.assemble(f"mrs {register}, {name}") for name, register in STATUS.items()}
BEFORE, AFTER = b"".join(SET.values()), b"".join(GET.values())
HANDLER = 0x200  # of exceptions from the same level (D1.3.1.6)


class ArmWindow(Window):
    """Anything else is a data abort from the same level."""

    def refuse(self, address: int, outside: bool) -> None:
        """See `Window.refuse`."""
        raise Trap(0x25 << 26, address)


class ReferenceExecutor:
    """Evaluates the traces of descriptions."""

    name = "reference"

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> State:
        before = dict(case.before.registers)
        status = {name: before.pop(name) for name in STATUS}
        registers, environment = Registers(a64.state), Environment()
        for name, value in before.items():
            registers.write(name, value)
        for name, value in (("el", 1), ("fp_ready", 1), ("spsel", 1), ("cpacr", 3 << 20)):
            registers.set(name, 0, value)
        memory = ArmWindow(case.before.memory)

        def step(word: int) -> None:
            decoded = decode(word)
            assert decoded is not None, f"{word:#x} is no instruction"
            pc = evaluate_insn(decoded, registers, memory, registers.read("pc"), environment)
            registers.write("pc", pc % (1 << 64))

        for name, register in STATUS.items():
            registers.write(register, status[name])
            step(int.from_bytes(SET[name], "little"))
        registers.write("pc", CODE)
        trap = None
        try:
            step(case.word)
        except Trap as raised:
            trap = raised.cause >> 26 & 0x3F
        after = {name: registers.read(name) for name in before}
        for name, register in STATUS.items():
            step(int.from_bytes(GET[name], "little"))
            after[name] = registers.read(register)
        return State(after, bytes(memory.bytes), trap)


class CpuExecutor:
    """A CPU of the seam at EL1: the instruction stands alone, and every way out of it leads to an
    exception, whose handler reads the status registers and halts."""

    def __init__(self, accel: str):
        self.name = accel

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        accelerator = self._accelerator()
        ram = Ram("ram", END - BASE)
        handler = AFTER + a64.assemble("wfi")
        ram.bytes[HANDLER : HANDLER + len(handler)] = handler
        try:
            accelerator.set_memory([MemorySlot(BASE, END - BASE, ram.host)])
            return self.on(accelerator.add_cpu(0), ram.bytes, cases)
        finally:
            accelerator.close()
            ram.close()

    def _accelerator(self) -> Accelerator:
        return create(self.name, "aarch64", clock=VirtualClock(), firmware_calls=False, cpus=1)

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """Execute the cases on a CPU with this memory from `BASE` on."""
        return [self.one(cpu, memory, case) for case in cases]

    def one(self, cpu: Cpu, memory: memoryview, case: Case) -> State:
        """Execute one case."""
        code = BEFORE + case.word.to_bytes(4, "little") + bytes(4)
        start, window = CODE - len(BEFORE) - BASE, slice(DATA - BASE, DATA - BASE + MEMORY)
        memory[start : start + len(code)] = code
        memory[window] = case.before.memory
        before = dict(case.before.registers)
        state = {register: before.pop(name) for name, register in STATUS.items()}
        names = [name for name in before if name != "pc"]
        state |= {name: before[name] for name in names}
        cpu.reset()
        for name, value in (state | {"pc": CODE - len(BEFORE)}).items():
            cpu.write_register(name, value)
        cpu.write_register("vbar_el1", BASE)
        cpu.write_register("cpacr_el1", 3 << 20)
        cpu.flush()
        assert isinstance(cpu.run(), Halt)
        after = {name: cpu.read_register(name) for name in names}
        after |= {name: cpu.read_register(register) for name, register in STATUS.items()}
        after["pc"] = cpu.read_register("elr_el1")
        trap = cpu.read_register("esr_el1") >> 26 if after["pc"] == CODE else None
        return State(after, bytes(memory[window]), trap)


class RegionExecutor(CpuExecutor):
    """The translator at one of its levels."""

    def __init__(self, level: int):
        super().__init__("jit")
        self.name = f"level {level}"
        self.regions = SingleRegions(a64, level)

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        self.accel = "jit"
        name, self.name = self.name, "jit"
        try:
            return super().execute(cases)
        finally:
            self.name = name

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """See `CpuExecutor`."""
        page = memory[CODE - BASE : CODE - BASE + PAGE]
        return self.regions.states(cpu, page, cases, lambda case: self.one(cpu, memory, case))


class RunExecutor(CpuExecutor):
    """The translator, which makes everything part of a run."""

    def __init__(self) -> None:
        super().__init__("runs")

    def _accelerator(self) -> Accelerator:
        return JitAccelerator("aarch64", clock=VirtualClock(), policy=stressed("runs"))


EXECUTORS: tuple[Executor, ...] = (
    ReferenceExecutor(), CpuExecutor("interp"), RunExecutor(), RegionExecutor(1), RegionExecutor(2),
)  # fmt: skip
