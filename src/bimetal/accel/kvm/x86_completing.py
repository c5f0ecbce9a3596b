"""What the state of an x86 vCPU lacks that has just come from KVM, or is about to go there: the
reference works it out, as for a vCPU that somebody has set registers of."""

from __future__ import annotations

from bimetal.accel.kvm.x86_exchange import AGAIN
from bimetal.accel.memory import Memory
from bimetal.accel.reference.core import NeedsBoard
from bimetal.accel.reference.cpu import ReferenceCpu
from bimetal.accel.saved import Saved
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.isa.contract import Start
from bimetal.isa.names import architecture

__all__ = ["completed", "reference", "settled"]

PG, PAE, LMA = 1 << 31, 1 << 5, 1 << 10
DIRECTORY = 0xFFFF_FFE0
"""Where CR3 has the address of the first level of PAE paging."""


def reference(saved: Saved, memory: Memory, now: int) -> ReferenceCpu:
    """A vCPU of the reference in that state, at the moment ``now`` of its clock."""
    clock = VirtualClock()
    clock.set(now)
    described = architecture("x86_64")
    start = Start(saved.registers["cpu_index"][0], model=described.models[0], controller=True)
    cpu = ReferenceCpu(described, start, memory, clock)
    cpu.load(saved.plain())
    return cpu


def completed(saved: Saved, memory: Memory, now: int) -> Saved:
    """The state with what is derived: modes, rights, and what PAE paging keeps of ``memory``."""
    files = saved.registers
    long = files["efer"][0] & LMA
    if files["cr0"][0] & PG and files["cr4"][0] & PAE and not long:
        found = memory.find(files["cr3"][0] & DIRECTORY, 32)
        table = bytes(32) if found is None else bytes(found)
        files["pdpte"] = [int.from_bytes(table[at : at + 8], "little") for at in range(0, 32, 8)]
    return _state(reference(saved, memory, now))


def settled(saved: Saved, memory: Memory, now: int) -> Saved:
    """The state once the instruction is complete whose accesses the board has answered already: KVM
    does not know such answers. Raises `BimetalError` if the board would have to be asked more."""
    if not saved.answers:
        return saved
    cpu = reference(saved, memory, now)
    try:
        cpu.core.step()
    except NeedsBoard as needs:
        raise BimetalError(
            f"the CPU is in the middle of an instruction that asks the board: {needs.access!r}",
            AGAIN,
            ExitCode.UNAVAILABLE,
        ) from None
    cpu.core.waiting = cpu.core.waiting or cpu.core.wanted == "halt"
    return _state(cpu)


def _state(cpu: ReferenceCpu) -> Saved:
    return Saved.read(cpu.core.isa, cpu.save())
