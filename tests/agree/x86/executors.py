"""The executors of x86 under test."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Registers, evaluate_insn
from bimetal.base.clock import VirtualClock
from bimetal.codegen.host import Host
from bimetal.codegen.policy import stressed
from bimetal.ir.evaluate import Trap
from bimetal.ir.softfloat import Environment
from bimetal.isa.x86 import x86
from bimetal.isa.x86.vector_state import MODES, PENDING, PLACES, SUBNORMAL_ZERO, UNMASKED
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, MemorySlot, Mmio

from ..single_regions import SingleRegions
from ..state import CODE, DATA, Case, State
from ..window import Window
from .cases import decode
from .native import FLAGS, GENERAL

__all__ = ["CpuExecutor", "ReferenceExecutor", "RegionExecutor", "RunExecutor", "StressedExecutor"]

PROTECTION, PAGE_FAULT = 13, 14
PLACES_OF_FLAGS = (("cf", 0), ("pf", 2), ("af", 4), ("zf", 6), ("sf", 7), ("of", 11))
DF = 0x400


MODEL = "max,+sse4a"
"""A processor with all that is described."""
ENABLED = {"cr4": 1 << 9 | 1 << 10 | 1 << 18, "xcr0": 7}
"""CR4 and XCR0 where vectors may be used."""


class X86Window(Window):
    """Anything else is a page fault, or what is raised where no page can be."""

    def refuse(self, address: int, outside: bool) -> None:
        """See `Window.refuse`."""
        non_canonical = address + (1 << 47) >> 48 & 0xFFFF
        raise Trap(PAGE_FAULT if outside and not non_canonical else PROTECTION, address)


class ReferenceExecutor:
    """Evaluates the traces of descriptions."""

    name = "reference"

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> State:
        before = case.before.registers
        registers, environment = Registers(x86.state), Environment(notes_subnormal=True)
        _load(registers, environment, before)
        memory, trap = X86Window(case.before.memory), None
        decoded = decode(case.word.to_bytes(case.size, "little"))
        assert decoded is not None, f"{case.text} is no instruction"
        pc = CODE
        try:
            # A string instruction goes on from itself while it repeats.
            while pc == CODE:
                pc = evaluate_insn(decoded, registers, memory, CODE, environment) % (1 << 64)
        except Trap as raised:
            trap = raised.cause & 0xFF
        after = _stored(registers, environment, before) | {"rip": pc}
        return State(after, bytes(memory.bytes), trap)


def _load(registers: Registers, environment: Environment, before: dict[str, int]) -> None:
    for name in GENERAL:
        registers.write(name, before[name])
    flags = before["rflags"]
    for name, place in PLACES_OF_FLAGS:
        registers.set(name, 0, flags >> place & 1)
    registers.set("system_flags", 0, flags & DF)
    for name, value in ENABLED.items():
        registers.set(name, 0, value)
    registers.set("mxcsr_control", 0, before.get("mxcsr", 0x1F80) & 0xFFC0)
    if "mxcsr" in before:
        mxcsr = before["mxcsr"]
        environment.rounding = MODES >> 2 * (mxcsr >> 13 & 3) & 3
        environment.flags = Host.flags_of(mxcsr, 6)
        masked = mxcsr >> 7 & 0x3F
        flushing = Host.flushing_of(mxcsr)
        environment.flushing = flushing if masked & 16 else flushing & 1
        checks = UNMASKED if masked != 0x3F else 0
        registers.set("vector_checks", 0, checks | (SUBNORMAL_ZERO if mxcsr & 64 else 0))
    if before.get("fsw", 0) & 0x80:
        registers.set("vector_checks", 0, PENDING)
    top = before.get("fsw", 0) >> 11 & 7
    for name, value in before.items():
        if name.startswith("ymm"):
            registers.set("xmm", int(name[3:]), value & ((1 << 128) - 1))
            registers.set("ymmh", int(name[3:]), value >> 128)
        elif name.startswith("st"):
            at = (top + int(name[2:])) % 8
            registers.set("mm", at, value & ((1 << 64) - 1))
            registers.set("exponent", at, value >> 64)
        elif name in ("fcw", "fsw", "ftw"):
            registers.set(name, 0, value)


def _stored(
    registers: Registers, environment: Environment, before: dict[str, int]
) -> dict[str, int]:
    after = {name: registers.read(name) for name in GENERAL}
    flags = sum(registers.get(name, 0) << place for name, place in PLACES_OF_FLAGS)
    after["rflags"] = (flags | registers.get("system_flags", 0) | 2) & FLAGS
    if "mxcsr" in before:
        raised = sum((environment.flags >> n & 1) << place for n, place in enumerate(PLACES))
        after["mxcsr"] = registers.get("mxcsr_control", 0) | raised
    top = registers.get("fsw", 0) >> 11 & 7
    for name in before:
        if name.startswith("ymm"):
            n = int(name[3:])
            after[name] = registers.get("xmm", n) | registers.get("ymmh", n) << 128
        elif name.startswith("st"):
            at = (top + int(name[2:])) % 8
            after[name] = registers.get("mm", at) | registers.get("exponent", at) << 64
        elif name in ("fcw", "fsw", "ftw"):
            after[name] = registers.get(name, 0)
    return after


PAGE = 4096
BASE, TOP = CODE - 0x1000, DATA + 0x4000
END = 0x4000_0000
LEAVE = bytes.fromhex("890425") + END.to_bytes(4, "little")
"""mov [END], eax: there is no memory."""
PLAIN = {
    "cr0": 0x11, "efer": 1 << 10, **ENABLED,
    **{f"{name}.base": 0 for name in ("cs", "ds", "es", "ss")},
    **{f"{name}.attributes": 0xC093 for name in ("ds", "es", "ss")}, "cs.attributes": 0xA09B,
}  # fmt: skip
"""64-bit mode without paging, which no processor is in, with vectors enabled."""


class CpuExecutor:
    """A CPU of the seam in 64-bit mode without paging: what stands behind the instruction ends it
    by a store. Instructions that trap or jump elsewhere are not for it."""

    name = "interp"

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """See `Executor`."""
        accelerator, ram = self._accelerator(), Ram("ram", TOP - BASE)
        try:
            accelerator.set_memory([MemorySlot(BASE, TOP - BASE, ram.host)])
            cpu = accelerator.add_cpu(0)
            for name, value in PLAIN.items():
                cpu.write_register(name, value)
            self._initial = cpu.save()
            return self.on(cpu, ram.bytes, cases)
        finally:
            accelerator.close()
            ram.close()

    def _accelerator(self) -> Accelerator:
        return InterpAccelerator("x86_64", model=MODEL, clock=VirtualClock())

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """Execute the cases on a CPU with this memory from `BASE` on."""
        return [self.one(cpu, memory, case) for case in cases]

    def one(self, cpu: Cpu, memory: memoryview, case: Case) -> State:
        """Execute one case."""
        cpu.load(self._initial)
        code, window = case.word.to_bytes(case.size, "little") + LEAVE, case.before.memory
        memory[CODE - BASE : CODE - BASE + len(code)] = code
        memory[DATA - BASE : DATA - BASE + len(window)] = window
        before = case.before.registers
        # Which register st0 is depends on FSW.
        for name in sorted(before, key=lambda name: name != "fsw"):
            cpu.write_register({"rip": "pc"}.get(name, name), before[name])
        cpu.flush()
        exit_ = cpu.run()
        assert isinstance(exit_, Mmio), (case.text, exit_)
        names = [name for name in before if name != "rip"]
        after = {name: cpu.read_register(name) for name in names}
        after["rflags"] &= FLAGS
        after["rip"] = cpu.read_register("pc")
        return State(after, bytes(memory[DATA - BASE : DATA - BASE + len(window)]))


class RegionExecutor(CpuExecutor):
    """The translator at one of its levels: 1 quick, 2 optimised."""

    def __init__(self, level: int):
        self.name, self.regions = f"level {level}", SingleRegions(x86, level)

    def _accelerator(self) -> Accelerator:
        policy = replace(stressed("records"), most=0)
        return JitAccelerator("x86_64", model=MODEL, clock=VirtualClock(), policy=policy)

    def on(self, cpu: Cpu, memory: memoryview, cases: Sequence[Case]) -> list[State]:
        """See `CpuExecutor`."""
        page = memory[CODE - BASE : CODE - BASE + PAGE]
        return self.regions.states(cpu, page, cases, lambda case: self.one(cpu, memory, case))


class StressedExecutor(CpuExecutor):
    """The translator under a policy of `bimetal.codegen.policy`."""

    def __init__(self, words: str):
        self.name = words

    def _accelerator(self) -> Accelerator:
        return JitAccelerator(
            "x86_64", model=MODEL, clock=VirtualClock(), policy=stressed(self.name)
        )


class RunExecutor(StressedExecutor):
    """The translator, which makes everything part of a run."""

    def __init__(self) -> None:
        super().__init__("runs")
