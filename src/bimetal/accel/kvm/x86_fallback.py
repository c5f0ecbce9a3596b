"""An instruction that the kernel cannot emulate, executed by the reference: KVM goes on behind it.

The vCPU's state goes to the reference and comes back; memory is the machine's, and devices are
asked as ever. Another vCPU may see the parts of a locked update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.x86_completing import completed, reference
from bimetal.accel.kvm.x86_exchange import TSC, TSC_DEADLINE, from_kernel, to_kernel
from bimetal.accel.kvm.x86_registers import write_msrs
from bimetal.accel.kvm.x86_state import PLAIN, save_state
from bimetal.accel.memory import Memory
from bimetal.accel.saved import Saved
from bimetal.base.errors import BimetalError
from bimetal.isa.x86 import x86 as isa
from bimetal.isa.x86.debug import ENABLED
from bimetal.isa.x86.flags import TF
from bimetal.seam import Exit, MemorySlot

__all__ = ["OneInstruction", "begin"]

ORDER = ("sregs", "regs", "xcrs", "debug")
KEPT = ("apic_base", "cr8")
"""What is the local APIC's, and not converted."""
HALTED = 3


class OneInstruction:
    """The instruction that a vCPU is at, while it is being executed."""

    def __init__(self, cpu: Handle, state: dict[str, Any], slots: Iterable[MemorySlot]):
        self._cpu, self._state = cpu, state
        memory = Memory(slots)
        before, _ = from_kernel(state, index=0, now=0)
        self._before = completed(before, memory, 0)
        self._reference = reference(self._before, memory, 0)

    @property
    def is_described(self) -> bool:
        """Whether the reference knows it."""
        return self._reference.is_described()

    def run(self) -> Exit | None:
        """Go on with it: the access that the board is asked for, whose answer the next call takes;
        or None, once the vCPU is behind the instruction."""
        asked = self._reference.step()
        if asked is None and not self.shuts_down:
            self._give_back(Saved.read(isa, self._reference.save()))
        return asked

    @property
    def is_watched(self) -> bool:
        """Whether the guest steps it, or has breakpoints: traps that wait behind it have no place
        in KVM's state."""
        registers = self._before.registers
        return bool(registers["system_flags"][0] & TF or registers["dr"][7] & ENABLED)

    @property
    def shuts_down(self) -> bool:
        """Whether it was a triple fault."""
        return bool(self._reference.core.registers.files["shutdown"][0])

    @property
    def halts(self) -> bool:
        """Whether it was one that waits for an interrupt."""
        return self._reference.core.wanted == "halt"

    def _give_back(self, after: Saved) -> None:
        """Set what has changed."""
        old = to_kernel(self._before, now=0, parked=False)
        new = to_kernel(after, now=0, parked=False)
        sregs = {name: bytearray(state["sregs"]) for name, state in (("old", old), ("new", new))}
        for name in KEPT:
            for each in sregs.values():
                x86.SREGS.put(each, name, x86.SREGS.get(self._state["sregs"], name))
        old["sregs"], new["sregs"] = bytes(sregs["old"]), bytes(sregs["new"])
        for name in ORDER:
            if new[name] != old[name]:
                self._cpu.ioctl(PLAIN[name][1], bytearray(new[name]))
        if new["xsave"] != old["xsave"]:
            area = bytearray(new["xsave"]).ljust(len(self._state["xsave"]), b"\0")
            self._cpu.ioctl(x86.SET_XSAVE, area)
        changed = {
            index: value
            for index, value in new["msrs"].items()
            if value != old["msrs"].get(index) and index not in (TSC, TSC_DEADLINE)
        }
        write_msrs(self._cpu, changed)
        # Written anyway: a shadow of STI or MOV SS is over.
        self._cpu.ioctl(x86.SET_VCPU_EVENTS, bytearray(new["events"]))
        if self.halts and "mp_state" in self._state:
            self._cpu.ioctl(abi.SET_MP_STATE, bytearray(abi.U32.pack(HALTED)))


def begin(
    cpu: Handle, msrs: list[int], lapic: bool, xsave_size: int, slots: Iterable[MemorySlot]
) -> OneInstruction | None:
    """The instruction that ``cpu`` is at; None if the reference does not know it, could not hold
    the vCPU's state, or would lose a trap. The parameters are those of `save_state`, and the
    machine's memory."""
    state = {**save_state(cpu, msrs, lapic, xsave_size), "halted": False}
    try:
        found = OneInstruction(cpu, state, slots)
    except BimetalError:
        return None
    return found if not found.is_watched and found.is_described else None
