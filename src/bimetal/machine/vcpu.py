"""A vCPU: the thread that runs a CPU and answers its exits."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bimetal.base import trace
from bimetal.base.clock import Clock
from bimetal.base.log import EventLog, logger
from bimetal.base.threads import EndingThread
from bimetal.machine.bus import Bus
from bimetal.machine.gate import VcpuGate
from bimetal.machine.result import Result
from bimetal.machine.wake import Wake
from bimetal.memory.initiator import Initiator
from bimetal.memory.space import MmioTarget
from bimetal.seam import (
    Cpu,
    CpuFault,
    DebugStop,
    Exit,
    FirmwareCall,
    Halt,
    Kicked,
    Mmio,
    Outputs,
    Pio,
    RegisterAccess,
    Semihosting,
    ShootDown,
    Stuck,
    Translating,
)  # fmt: skip

__all__ = ["Surroundings", "Vcpu"]


class Surroundings(Protocol):
    """The parts of a machine that a vCPU uses."""

    gate: VcpuGate
    clock: Clock
    bus: Bus
    ports: Bus
    initiator: Initiator
    vcpus: Sequence[Vcpu]
    registers: Mapping[int, MmioTarget]
    """Devices that implement registers of a CPU, by the CPU's number: 8 bytes each."""

    def outputs(self, vcpu: Vcpu, levels: int) -> None:
        """Drive what the outputs of a CPU are wired to; the lock is held."""

    def firmware_call(self, vcpu: Vcpu, args: tuple[int, ...]) -> tuple[int, ...]:
        """Answer a call to firmware; the lock is held."""

    def semihosting(self, vcpu: Vcpu, asked: Semihosting) -> None:
        """Answer a program's semihosting call; the lock is held."""

    def memory_changed(self) -> bool:
        """Whether the memory map has changed since the CPUs were told of it."""

    def resting(self) -> None:
        """A vCPU has nothing to do; the lock is held."""

    def settle(self, vcpu: Vcpu) -> None:
        """Carry out what was asked of the whole machine; the lock is not held."""


class Vcpu:
    """CPU ``index`` of a machine and its thread; a member of the `VcpuGate`."""

    def __init__(self, cpu: Cpu, around: Surroundings):
        self.cpu, self.index, self.around = cpu, cpu.index, around
        self.active = self.parked = self.starting = False
        self.errands: list[Callable[[], None]] = []
        self.exits: Counter[type[Exit]] = Counter()
        self.events = EventLog(f"cpu{self.index}")
        self.wake = Wake()
        self._tracing = trace.enabled("exit")
        self._lock = around.gate.lock
        self._initiator, self._serve = around.initiator, around.bus.serve
        self._memory_changed = around.memory_changed
        self._registers = around.registers.get(self.index)
        self._attention = True
        self._levels: dict[int, bool] = {}
        self._alarm = around.clock.timer(self.wake.set)
        self._thread = EndingThread(self._main, f"cpu{self.index}")
        self._handlers: dict[type[Exit], Callable[..., None]] = {
            Mmio: self._mmio,
            Pio: self._pio,
            Halt: self._halt,
            RegisterAccess: self._register_access,
            FirmwareCall: self._firmware_call,
            Outputs: self._outputs,
            ShootDown: self._shoot_down,
            Kicked: self._kicked,
            Stuck: self._stuck,
            Semihosting: self._semihosting,
            DebugStop: self._debug_stop,
            CpuFault: self._fault,
        }

    def forked(self) -> None:
        """This process is a copy: have a thread of its own, which begins at the gate."""
        self.wake = Wake()
        self._alarm = self.around.clock.timer(self.wake.set)
        self._attention, self.active = True, False
        self._thread = EndingThread(self._main, f"cpu{self.index}")

    @property
    def thread_id(self) -> int:
        """The host's number of the thread, 0 before the start."""
        return self._thread.native_id or 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread, unless this is it; False if it has not come in time."""
        return self._thread is threading.current_thread() or self._thread.ended(seconds)

    def call(self) -> None:
        """Make the thread come to the gate soon. Call with the lock held."""
        self._attention = True
        self.cpu.kick()
        self.wake.set()

    def set_line(self, line: int, level: bool) -> None:
        """Drive an interrupt input of the CPU."""
        self._levels[line] = level
        self.cpu.set_line(line, level)
        if level:
            self.wake.set()

    def pulse(self, line: int) -> None:
        """Raise an interrupt input that the guest itself lowers."""
        self.cpu.set_line(line, True)
        self.wake.set()

    def reset(self) -> None:
        """Reset the CPU, while it does not run; what drives its inputs goes on driving them, and
        its own outputs are low. Call with the lock held."""
        self.cpu.reset()
        self.around.outputs(self, 0)
        for line, level in self._levels.items():
            self.cpu.set_line(line, level)

    def save(self) -> dict[str, object]:
        """The state of the CPU, and of its inputs, while it is stopped."""
        return {
            "cpu": dict(self.cpu.save()),
            "parked": self.parked,
            "levels": dict(self._levels),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. Raises ValueError."""
        levels = state["levels"]
        if not isinstance(levels, Mapping):
            raise ValueError("a CPU without inputs")
        self.cpu.load(state["cpu"])
        self.parked, self.starting = bool(state["parked"]), False
        self._levels = {int(line): bool(level) for line, level in levels.items()}
        self.errands.clear()

    # The loop

    def _main(self) -> None:
        try:
            self._loop()
        except BaseException as failure:
            self.around.gate.fail(failure)
        finally:
            with self.around.gate.lock:
                self.around.gate.leave(self)

    def _loop(self) -> None:
        run, handlers, exits = self.cpu.run, self._handlers, self.exits
        forget_wake = self.wake.clear
        while True:
            if self._attention and not self._gate():
                return
            forget_wake()  # whatever set it before is seen by the CPU itself
            exit_ = run()
            kind = type(exit_)
            exits[kind] += 1
            if self._tracing:
                trace.emit("exit", f"cpu{self.index} {exit_!r}")
            handlers[kind](exit_)

    def _gate(self) -> bool:
        self.around.settle(self)
        gate = self.around.gate
        with gate.lock:
            self._attention = False
            return gate.enter(self)

    def _mmio(self, exit_: Mmio) -> None:
        # The quick way to take the lock: this is where exits spend their time.
        lock, initiator = self._lock, self._initiator
        with lock.door:
            lock.take()
        try:
            initiator.cpu = self.index
            self._serve(exit_)
            initiator.cpu = 0
        finally:
            lock.release()
        if self._memory_changed():
            self._attention = True

    def _register_access(self, exit_: RegisterAccess) -> None:
        registers, lock = self._registers, self._lock
        with lock.door:
            lock.take()
        try:
            if registers is None:
                self.events.guest_error("access to a register that nothing has")
            elif exit_.read:
                before = registers.read(8 * exit_.number, 8)
                if exit_.write:
                    value = before & ~exit_.mask | exit_.value & exit_.mask
                    registers.write(8 * exit_.number, 8, value)
                exit_.value = before
            else:
                registers.write(8 * exit_.number, 8, exit_.value)
        finally:
            lock.release()

    def _pio(self, exit_: Pio) -> None:
        around = self.around
        with around.gate.lock:
            if exit_.write:
                around.ports.write(exit_.port, exit_.size, exit_.value)
            else:
                exit_.value = around.ports.read(exit_.port, exit_.size)

    def _semihosting(self, exit_: Semihosting) -> None:
        with self.around.gate.lock:
            self.around.semihosting(self, exit_)
        if exit_.again:
            self._sleep(exit_.deadline)

    def _halt(self, exit_: Halt) -> None:
        self._sleep(exit_.deadline)

    def _sleep(self, deadline: int | None) -> None:
        """Wait for something that concerns the CPU, or for its own timer."""
        around = self.around
        seconds = None
        with around.gate.lock:
            if self._attention:
                return
            if deadline is not None:
                seconds = around.clock.host_seconds(deadline)
                if seconds is None:
                    self._alarm.arm(deadline)
            around.gate.leave(self)
            around.resting()
        self.wake.wait(seconds)
        self._attention = True  # through the gate, to be active again

    def _firmware_call(self, exit_: FirmwareCall) -> None:
        with self.around.gate.lock:
            exit_.results = self.around.firmware_call(self, exit_.args)

    def _outputs(self, exit_: Outputs) -> None:
        with self.around.gate.lock:
            self.around.outputs(self, exit_.levels)

    def _shoot_down(self, exit_: ShootDown) -> None:
        # The others know what to flush, and do so before they execute anything after their gates.
        gate = self.around.gate
        with gate.lock:
            others = [vcpu for vcpu in self.around.vcpus if vcpu is not self]
            gate.fence(self, others, lambda vcpu: None)

    def _kicked(self, exit_: Kicked) -> None:
        """The gate is next, if it was not a kick from an earlier call."""

    def _stuck(self, exit_: Stuck) -> None:
        around = self.around
        place = self.cpu.translate(exit_.pc) if isinstance(self.cpu, Translating) else None
        with around.gate.lock:
            region = None if place is None else around.bus.space.find(place)
            memory = region is not None and region.memory is not None
            where = "" if memory else ", where there is no memory,"
            self.events.guest_error(
                f"it takes trap after trap at {exit_.pc:#x}{where} and executes nothing"
            )

    def _debug_stop(self, exit_: DebugStop) -> None:
        logger("machine").warning("cpu%d stopped at %#x: %s", self.index, exit_.pc, exit_.reason)
        gate = self.around.gate
        with gate.lock:
            gate.paused = True
            for member in gate.members:
                member.call()

    def _fault(self, exit_: CpuFault) -> None:
        gate = self.around.gate
        with gate.lock:
            gate.end(Result.of_fault(self.index, exit_))
