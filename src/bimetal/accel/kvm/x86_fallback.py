"""An instruction that the kernel cannot emulate, executed by the reference: KVM goes on behind it.

The vCPU's state goes to the reference and comes back; memory is the machine's, and devices are
asked as ever. Another vCPU may see the parts of a locked update. State that only KVM has, such as
AVX-512's, stays as it is, but for what the instruction makes 0 of it (`x86_unknown`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.memory import SlotTable
from bimetal.accel.kvm.x86_completing import completed, reference
from bimetal.accel.kvm.x86_exchange import (
    NMI_PENDING,
    TSC,
    TSC_DEADLINE,
    from_kernel,
    to_kernel,
)
from bimetal.accel.kvm.x86_registers import write_msrs
from bimetal.accel.kvm.x86_state import PLAIN, save_state
from bimetal.accel.kvm.x86_unknown import Noting, UnknownState
from bimetal.accel.memory import Memory
from bimetal.accel.saved import Saved
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.isa.x86 import x86 as isa
from bimetal.seam import Exit, MemorySlot

__all__ = ["OneInstruction", "begin"]

ORDER = ("sregs", "regs", "xcrs", "debug")
KEPT = ("apic_base", "cr8")
"""What is the local APIC's, and not converted."""
HALTED = 3
REPORT = "report it, with the registers; '--accel jit' runs such guests without KVM"


class _Written(Memory):
    """Memory that notes which pages may have been written."""

    def __init__(self, slots: Iterable[MemorySlot]):
        self.pages: set[int] = set()
        super().__init__(slots)

    def find(self, address: int, size: int, write: bool = False) -> memoryview | None:
        found = super().find(address, size, write)
        if write and found is not None:
            self.pages.update((address // abi.PAGE, (address + size - 1) // abi.PAGE))
        return found


class OneInstruction:
    """The instruction that a vCPU is at, while it is being executed."""

    def __init__(self, cpu: Handle, state: dict[str, Any], slots: SlotTable, zmm_at: int):
        self._cpu, self._state, self._slots = cpu, state, slots
        self._memory = _Written(slots.slots)
        self._unknown = UnknownState(state, zmm_at)
        before, _ = from_kernel(_without_nmi(self._unknown.hidden(state)), index=0, now=0)
        self._before = completed(before, self._memory, 0)
        self._reference = reference(self._before, self._memory, 0)
        self._noting = Noting.watch(self._reference.core)

    @property
    def is_described(self) -> bool:
        """Whether the reference knows it."""
        return self._reference.is_described()

    def check(self) -> None:
        """Raise `BimetalError` if it is about state that the reference does not know."""
        extension = self._reference.extension()
        if self._unknown.components and extension in UnknownState.EXTENSIONS:
            raise BimetalError(
                f"the instruction is about all of the processor's state (XCR0 "
                f"{self._unknown.xcr0:#x}), of which the reference does not know some",
                "start the machine with a processor that has none of it: --accel kvm --cpu max",
                ExitCode.UNAVAILABLE,
            )

    def run(self) -> Exit | None:
        """Go on with it: the access that the board is asked for, whose answer the next call takes;
        or None, once the vCPU is behind the instruction. Raises `BimetalError` if KVM cannot hold,
        or does not take, what it has led to."""
        try:
            asked = self._reference.step()
        finally:
            self._slots.note(self._memory.pages)
        if asked is None and not self.shuts_down:
            try:
                self._give_back(Saved.read(isa, self._reference.save()))
            except OSError as error:
                raise BimetalError(
                    f"KVM does not take its results: {error.strerror}", REPORT, ExitCode.UNAVAILABLE
                ) from error
        return asked

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
        if new["xsave"] != old["xsave"] or self._noting.upper:
            self._cpu.ioctl(x86.SET_XSAVE, self._unknown.area(new["xsave"], self._noting.upper))
        changed = {
            index: value
            for index, value in new["msrs"].items()
            if value != old["msrs"].get(index) and index not in (TSC, TSC_DEADLINE)
        }
        write_msrs(self._cpu, changed)
        # Written anyway: a shadow of STI or MOV SS is over. Not the NMI that waits: that is KVM's,
        # and another one may have come meanwhile.
        events = bytearray(new["events"])
        x86.EVENTS.put(events, "flags", x86.EVENTS.get(events, "flags") & ~NMI_PENDING)
        self._cpu.ioctl(x86.SET_VCPU_EVENTS, events)
        if self.halts and "mp_state" in self._state:
            self._cpu.ioctl(abi.SET_MP_STATE, bytearray(abi.U32.pack(HALTED)))


def _without_nmi(state: dict[str, Any]) -> dict[str, Any]:
    """The state without the NMI that waits, which KVM delivers behind the instruction."""
    events = bytearray(state["events"])
    x86.EVENTS.put(events, "nmi.pending", 0)
    return {**state, "events": bytes(events)}


def begin(
    cpu: Handle,
    msrs: list[int],
    lapic: bool,
    xsave_size: int,
    slots: SlotTable,
    zmm_at: int,
) -> OneInstruction | None:
    """The instruction that ``cpu`` is at; None if the reference does not know it. The parameters
    are those of `save_state`, the machine's memory, and where XSAVE's area has the upper halves of
    ZMM registers (0: nowhere). Raises `BimetalError` if the vCPU's state cannot be held."""
    state = {**save_state(cpu, msrs, lapic, xsave_size), "halted": False}
    found = OneInstruction(cpu, state, slots, zmm_at)
    if not found.is_described:
        return None
    found.check()
    return found
