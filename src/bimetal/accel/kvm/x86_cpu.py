"""A vCPU of an x86 machine: interrupts, debug registers, state, and what its faults look like."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.abi import ExitReason, Run
from bimetal.accel.kvm.vcpu import KvmCpu
from bimetal.accel.kvm.x86_cpuid import Leaf, encode
from bimetal.accel.kvm.x86_debug import debug_registers, decode_stop
from bimetal.accel.kvm.x86_explain import code_at_rip, describe
from bimetal.accel.kvm.x86_registers import REGISTERS
from bimetal.accel.kvm.x86_state import load_state, save_state
from bimetal.base.errors import BimetalError
from bimetal.base.late import LateModule
from bimetal.seam import DebugRequest, DebugStop, EndOfInterrupt, Exit, RegisterAccess

if TYPE_CHECKING:
    from bimetal.accel.kvm import x86_fallback
    from bimetal.accel.kvm.x86 import X86Machine
    from bimetal.accel.kvm.x86_fallback import OneInstruction
else:
    x86_fallback = LateModule("bimetal.accel.kvm.x86_fallback")

__all__ = ["NMI_LINE", "X86Cpu"]

NMI_LINE = 2
"""The line of the non-maskable interrupt: its vector, as for the other lines."""
LINES = 256
SLOW = (
    "this host's KVM cannot emulate some of the guest's instructions: the reference executes them, "
    "some dozens in a second"
)


class X86Cpu(KvmCpu):
    """An x86 vCPU.

    A line is an interrupt vector: raising line 2 is an NMI, raising one from 32 on an external
    interrupt of that vector, which waits until the guest takes interrupts or the line falls.
    With an interrupt controller in the kernel the NMI is the only line.
    """

    vm: X86Machine

    def __init__(self, vm: X86Machine, index: int, leaves: list[Leaf]):
        super().__init__(vm, index)
        self._lines_lock = threading.Lock()
        self._raised: set[int] = set()
        self._pending: list[int] = []
        self._halted = False
        self._helped: OneInstruction | None = None
        self._debug = DebugRequest()
        self.by_reference = 0
        """How many instructions the kernel could not emulate."""
        self.may_be_helped = True
        """Whether the reference may execute them."""
        self._has_controller = vm.controller != "none"
        try:
            self.handle.ioctl(x86.SET_CPUID2, encode(leaves))
            self._initial = self.save()
        except BaseException:
            self.close()
            raise

    # -- interrupts ------------------------------------------------------------------------

    def set_line(self, line: int, level: bool) -> None:
        """Drive the input for interrupt vector ``line``; what counts is the rising edge."""
        if not (line == NMI_LINE or 32 <= line < LINES):
            raise ValueError(
                f"an x86 CPU has no interrupt line {line}: 2 is NMI, 32 to 255 vectors"
            )
        if self._has_controller and line != NMI_LINE:
            raise ValueError(f"line {line} belongs to the interrupt controller: use set_irq")
        with self._lines_lock:
            if level == (line in self._raised):
                return
            if level:
                self._raised.add(line)
                self._pending.append(line)
            else:
                self._raised.discard(line)
                if line != NMI_LINE and line in self._pending:
                    self._pending.remove(line)
        if level:
            self.interrupt()

    def _before_entry(self) -> Exit | None:
        if self._helped is not None:
            asked = self._stepped(self._go_on_by_reference(self._helped))
            if asked is not None:
                return asked
        if self._pending:
            self._inject()
        if self._halted:
            return self._stay_halted()
        return None

    def _inject(self) -> None:
        """Hand waiting interrupts to the processor, as far as the guest takes them now."""
        run = self._run
        with self._lines_lock:
            if NMI_LINE in self._pending:
                self._pending.remove(NMI_LINE)
                self.handle.ioctl(x86.NMI)
                self._halted = False
            if self._pending and run[Run.READY_FOR_INJECTION] and run[Run.IF_FLAG]:
                vector = self._pending.pop(0)
                self.handle.ioctl(abi.INTERRUPT, bytearray(abi.U32.pack(vector)))
                self._halted = False
            run[Run.REQUEST_INTERRUPT_WINDOW] = int(bool(self._pending))

    def _stay_halted(self) -> Exit | None:
        """Without a controller in the kernel KVM forgets a halt: the CPU waits here."""
        if self._run[Run.IMMEDIATE_EXIT]:
            kicked = self._take_kick()
            if kicked is not None:
                return kicked
            self._inject()  # a line may have risen just now
        return self._halt if self._halted else None

    def _on_halt(self) -> Exit | None:
        self._halted = True
        return None

    # -- exits -----------------------------------------------------------------------------

    def _exit_handlers(self) -> dict[int, Callable[[], Exit | None]]:
        return super()._exit_handlers() | {
            ExitReason.IRQ_WINDOW_OPEN: lambda: None,
            ExitReason.DEBUG: self._on_debug,
            ExitReason.IOAPIC_EOI: lambda: EndOfInterrupt(self._run[Run.UNION]),
            ExitReason.X86_RDMSR: self._on_unknown_msr,
            ExitReason.X86_WRMSR: self._on_unknown_msr,
        }

    def _on_debug(self) -> Exit:
        exception, _, pc, dr6, _ = abi.DEBUG_EXIT.unpack_from(self._run, Run.UNION)
        return decode_stop(exception, pc, dr6, self._debug)

    def _on_internal_error(self) -> Exit | None:
        code = code_at_rip(self.handle, self.vm.memory)
        if code.physical is not None and not code.data:
            return self.fault(f"the guest executes at {code.physical:#x}, where there is no memory")
        error = abi.U32.unpack_from(self._run, Run.UNION)[0]
        if self.may_be_helped and error == abi.EMULATION_FAILED:
            try:
                helped = self._by_reference()
            except BimetalError as refused:
                return self.fault(
                    f"KVM cannot emulate an instruction, nor the reference execute it: "
                    f"{refused.cause}",
                    refused.remedy,
                )
            if helped is not None:
                return self._stepped(self._go_on_by_reference(helped))
        return super()._on_internal_error()

    def _by_reference(self) -> OneInstruction | None:
        """The instruction that the kernel cannot emulate, for the reference, if that knows it."""
        self._unfinished = False
        vm = self.vm
        return x86_fallback.begin(
            self.handle, vm.msrs, self._has_controller, vm.xsave_size, vm.memory, vm.zmm_at
        )

    def _go_on_by_reference(self, helped: OneInstruction) -> Exit | None:
        """Execute it, up to where the board has to answer."""
        try:
            return self._helped_on(helped)
        except BimetalError as refused:
            return self.fault(
                f"KVM cannot go on behind an instruction that the reference has executed: "
                f"{refused.cause}",
                refused.remedy,
            )

    def _helped_on(self, helped: OneInstruction) -> Exit | None:
        """The same. Raises `BimetalError` if KVM cannot hold what it led to: it is over then."""
        self._helped = helped
        try:
            asked = helped.run()
        except BimetalError:
            self._helped = None
            raise
        if isinstance(asked, RegisterAccess):
            self._helped = None
            return self.fault(f"register {asked.number:#x} is the kernel's, and not the board's")
        if helped.shuts_down:
            self._helped = None
            return self.fault("the guest took a triple fault")
        if asked is None:
            self._helped = None
            self._halted = helped.halts and not self._has_controller
            if not self.by_reference:
                self.events.hint(SLOW)
            self.by_reference += 1
        return asked

    def _stepped(self, asked: Exit | None) -> Exit | None:
        """What an instruction of the reference asks; once it is complete, the stop of a debugger
        that steps, of which KVM knows nothing here."""
        if asked is not None or not self._debug.step:
            return asked
        return DebugStop(self.read_register("cs.base") + self.read_register("rip"), "step")

    def settle(self) -> None:
        """See `KvmCpu.settle`. Raises `BimetalError` as `_helped_on`."""
        if self._helped is not None and self._helped_on(self._helped) is not None:
            raise RuntimeError(f"cpu{self.index} still asks the board for an instruction")
        super().settle()

    def _on_unknown_msr(self) -> None:
        """An MSR that KVM does not know: it is logged, and the guest gets #GP as from hardware."""
        _, _, index, data = x86.MSR_EXIT.unpack_from(self._run, Run.UNION)
        writes = abi.U32.unpack_from(self._run, Run.EXIT_REASON)[0] == ExitReason.X86_WRMSR
        what = f"wrmsr {index:#x}" if writes else f"rdmsr {index:#x}"
        self.events.guest_error(f"{what}, which KVM does not have", f"{data:#x}" if writes else "")
        self._run[Run.UNION] = 1

    # -- debug -----------------------------------------------------------------------------

    def set_debug(self, request: DebugRequest) -> None:
        """Stop as requested from the next run on."""
        self.handle.ioctl(x86.SET_GUEST_DEBUG, debug_registers(request))
        self._debug = request

    # -- state -----------------------------------------------------------------------------

    @property
    def register_names(self) -> Sequence[str]:
        """General, segment, table, control, debug, model-specific, x87 and SSE registers."""
        return tuple(REGISTERS)

    def read_register(self, name: str) -> int:
        """A register as an unsigned integer."""
        return REGISTERS[name].read(self.handle)

    def write_register(self, name: str, value: int) -> None:
        """Set a register. A halt, or the rest of an access, is over before.

        ValueError if no processor can be in the resulting state.
        """
        source = REGISTERS[name]
        self.settle()
        self._halted = False
        try:
            source.write(self.handle, value)
        except OSError as error:
            raise ValueError(f"KVM refuses {name} = {value:#x}: {error.strerror}") from error

    def reset(self) -> None:
        """The state in which KVM created the vCPU, which is that after RESET."""
        with self._lines_lock:
            self._raised.clear()
            self._pending.clear()
        self.load(self._initial)

    def save(self) -> dict[str, object]:
        """Registers, MSRs, XSAVE area, local APIC, pending events."""
        self.settle()
        state = save_state(self.handle, self.vm.msrs, self._has_controller, self.vm.xsave_size)
        state["halted"] = self._halted
        state["lines"] = sorted(self._raised)
        state["pending"] = list(self._pending)
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. What the board was still asked for is dropped."""
        self._pieces.clear()
        self._helped = None
        self.settle()
        load_state(self.handle, state, self.vm.xsave_size)
        with self._lines_lock:
            self._halted = state["halted"]
            self._raised = set(state["lines"])
            self._pending = list(state["pending"])

    def describe(self) -> str:
        """Registers and the code at RIP."""
        return describe(self.handle, self.vm.memory)
