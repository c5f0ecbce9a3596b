"""A hart of an accelerator with a little memory, to run a program to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bimetal.accel.interp import InterpAccelerator, InterpCpu
from bimetal.accel.jit import JitAccelerator, JitCpu
from bimetal.accel.tiering import ROUND_FAILED
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import Policy
from bimetal.memory.ram import Ram
from bimetal.seam import Kicked, MemorySlot, Mmio
from tests.codegen.programs import CODE, END

__all__ = ["Hart", "interp", "jit"]

SIZE = 1 << 16
FLOATING_POINT_ON = 3 << 13


@dataclass(slots=True)
class Hart:
    """A hart, its memory, and its accelerator."""

    cpu: InterpCpu
    ram: Ram

    def put(self, address: int, data: bytes) -> None:
        """Write guest memory behind the hart's back."""
        self.ram.bytes[address - CODE : address - CODE + len(data)] = data

    def begin(self, program: bytes, at: int = CODE) -> None:
        """Reset, with a program in memory."""
        self.ram.bytes[:SIZE] = bytes(SIZE)
        self.cpu.reset()
        self.put(at, program)
        self.cpu.write_register("pc", at)
        self.cpu.write_register("mstatus", FLOATING_POINT_ON)

    def finish(self) -> None:
        """Run to the end that programs have."""
        exit_ = self.cpu.run()
        while isinstance(exit_, Kicked):
            exit_ = self.cpu.run()
        assert isinstance(exit_, Mmio), exit_
        assert (exit_.address, exit_.write) == (END, True), exit_

    def outcome(self) -> dict[str, object]:
        """Registers, memory and the count of instructions."""
        state = self.cpu.save()
        return {
            "registers": state["registers"],
            "memory": bytes(self.ram.bytes[0x1000:SIZE]),
            "instructions": self.cpu.instructions,
        }


@contextmanager
def interp() -> Iterator[Hart]:
    """A hart that only interprets."""
    ram = Ram("ram", SIZE)
    accelerator = InterpAccelerator("riscv64", clock=RealClock())
    accelerator.set_memory([MemorySlot(CODE, SIZE, ram.host)])
    yield Hart(accelerator.add_cpu(0), ram)
    accelerator.close()
    ram.close()


@contextmanager
def jit(policy: Policy | None = None, background: bool = False) -> Iterator[tuple[Hart, JitCpu]]:
    """A hart of the translating accelerator, also as what tiering sees."""
    ram = Ram("ram", SIZE)
    accelerator = JitAccelerator("riscv64", clock=RealClock(), policy=policy, background=background)
    accelerator.set_memory([MemorySlot(CODE, SIZE, ram.host)])
    cpu = accelerator.add_cpu(0)
    yield Hart(cpu, ram), cpu
    accelerator.close()
    ram.close()
    assert not any(ROUND_FAILED in kind for kind in cpu.tiering.events.counts)
