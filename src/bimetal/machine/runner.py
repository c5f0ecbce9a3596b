"""Running hardware: CPUs of an accelerator, their threads, and the service thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bimetal.base import trace
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.machine.bus import Bus
from bimetal.machine.cpus import CpuControl
from bimetal.machine.doorbells import BoardDoorbells
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.gate import VcpuGate
from bimetal.machine.hardware import CpuSignal, Hardware
from bimetal.machine.hosting import Hosting
from bimetal.machine.result import Ending, Result
from bimetal.machine.service import Service
from bimetal.machine.vcpu import Vcpu
from bimetal.memory.space import MmioTarget
from bimetal.seam import (
    Accelerator,
    Forkable,
    InterruptController,
    PlatformState,
    Semihosting,
    Shutdown,
    ShutdownKind,
)

__all__ = ["Runner", "closed_error"]


def closed_error() -> BimetalError:
    """The error for using a machine that is closed."""
    return BimetalError("the machine is closed", "make a new one", ExitCode.USAGE)


class Runner:
    """The surroundings of the vCPUs of one machine, from power on to power off."""

    def __init__(
        self,
        hardware: Hardware,
        accelerator: Accelerator,
        gate: VcpuGate,
        service: Service,
    ):
        self.hardware, self.accelerator, self.gate = hardware, accelerator, gate
        self.clock, self.initiator = hardware.clock, hardware.initiator
        self.registers: Mapping[int, MmioTarget] = hardware.registers
        self.bus = Bus(hardware.space, "bus")
        self.ports = Bus(hardware.ports, "ports", floating=0xFF)
        self.closed = False
        self._boot, self._service = hardware.boot, service
        self._asked: Shutdown | None = None
        self._asked_by_guest = True
        self._generation = -1
        self._tracing = trace.enabled("irq")
        self._connect_controller(accelerator)
        self._starts_cpus = isinstance(accelerator, InterruptController)
        cpus = [accelerator.add_cpu(index) for index in range(hardware.config.cpus)]
        self.vcpus = [Vcpu(cpu, self) for cpu in cpus]
        gate.members.extend(self.vcpus)
        self._firmware = self._boot.firmware(CpuControl(gate, self.vcpus))
        hardware.outlets.cpus.connect(self._drive)
        hardware.outlets.power.connect(self.ask)
        hardware.outlets.rtc.connect(self._clock_set)
        self._platform = accelerator if isinstance(accelerator, PlatformState) else None
        self._fresh = self._platform.save() if self._platform else {}
        self._doorbells = BoardDoorbells(hardware, accelerator, service.reactor)
        self.hosting = Hosting(hardware, self.vcpus, self.ask, accelerator.name)
        self._renew_memory()

    def power_on(self) -> None:
        """Set every CPU to the start of what was loaded."""
        for vcpu in self.vcpus:
            vcpu.cpu.flush()
            enters = self._boot.enter(vcpu.cpu)
            vcpu.parked = not enters and not self._starts_cpus

    def start(self) -> None:
        """Start the threads, in memory that is the host's own for this machine."""
        for ram in self.hardware.memories:
            ram.prefer_huge_pages()
        self.go_on()

    def go_on(self) -> None:
        """Start the threads: last those of the vCPUs, which then take the host's processors and
        Python's lock from whoever waits for the start of another."""
        self._service.start()
        for vcpu in self.vcpus:
            vcpu.start()

    def areas(self) -> list[tuple[int, int]]:
        """Addresses and sizes of the memory that a copy of this process takes longest to share;
        none, if the machine cannot be forked."""
        if not isinstance(self.accelerator, Forkable):
            return []
        memories = [ram for ram in self.hardware.memories if ram.anonymous]
        return [*((ram.host, ram.size) for ram in memories), *self.accelerator.areas()]

    def close(self) -> None:
        """Free the CPUs, once the threads have ended. Idempotent."""
        self._doorbells.close()
        self.accelerator.close()

    def quiet(self, still: bool) -> None:
        """Whether nothing of the host is heard, so that no device does anything. Call with the lock
        held."""
        self._service.reactor.still = still
        self._service.reactor.wake()

    def ask(self, shutdown: Shutdown, *, guest: bool = True) -> None:
        """The ``guest``, or a user, ends the run or resets the machine. Call with the lock held."""
        if self._asked is None:
            self._asked, self._asked_by_guest = shutdown, guest
            for vcpu in self.vcpus:
                vcpu.call()

    # Snapshots; the machine is held

    def settle_all(self) -> None:
        """Do what vCPUs were to do at their gates, and what doorbells have asked for."""
        for vcpu in self.vcpus:
            while vcpu.errands:
                vcpu.errands.pop(0)()
        self._doorbells.answer()

    def save(self) -> dict[str, Any]:
        """The state of the CPUs, of the accelerator and of what was asked of the machine."""
        asked = self._asked
        return {
            "accel": self.accelerator.name,
            "cpus": [vcpu.save() for vcpu in self.vcpus],
            "platform": None if self._platform is None else dict(self._platform.save()),
            "asked": None if asked is None else [asked.kind.value, asked.code],
            "semihosting": self.hosting.save(),
            "boot": {"moved": dict(self._boot.moved), "unused": list(self._boot.unused)},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. Raises ValueError if it is of another machine."""
        if len(state["cpus"]) != len(self.vcpus):
            raise ValueError(f"{len(state['cpus'])} CPUs of {len(self.vcpus)}")
        if (state["platform"] is None) != (self._platform is None):
            raise ValueError(f"the state of {state['accel']} is none of {self.accelerator.name}")
        for vcpu, saved in zip(self.vcpus, state["cpus"], strict=True):
            vcpu.load(saved)
        if self._platform is not None:
            self._platform.load(state["platform"])
        asked = state["asked"]
        self._asked = None if asked is None else Shutdown(ShutdownKind(asked[0]), int(asked[1]))
        self.hosting.load(state["semihosting"])
        start, end = state["boot"]["unused"]
        self._boot.moved, self._boot.unused = dict(state["boot"]["moved"]), (start, end)

    # For programs that look into the machine, from threads that are not the machine's

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the machine's lock. Raises `BimetalError` once the machine is closed."""
        with self.gate.lock:
            self._check_open()
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Halt the whole machine. Raises `BimetalError` once it is closed."""
        with self.gate.hold():
            self._check_open()
            yield

    def _check_open(self) -> None:
        if self.closed:
            raise closed_error()

    # For vCPUs, see Surroundings

    def firmware_call(self, vcpu: Vcpu, args: tuple[int, ...]) -> tuple[int, ...]:
        return self._firmware(vcpu.index, args)

    def outputs(self, vcpu: Vcpu, levels: int) -> None:
        self.hardware.drive_outputs(vcpu.index, levels)

    def semihosting(self, vcpu: Vcpu, asked: Semihosting) -> None:
        self.hosting.serve(vcpu, asked)

    def memory_changed(self) -> bool:
        return self.hardware.space.generation != self._generation

    def resting(self) -> None:
        if not any(vcpu.active for vcpu in self.vcpus):
            self._service.lulls.begin()

    def settle(self, vcpu: Vcpu) -> None:
        if self.memory_changed():
            with self.gate.hold(vcpu):
                self._renew_memory()
        with self.gate.lock:
            asked, self._asked = self._asked, None
        if asked is None:
            return
        if asked.kind is ShutdownKind.RESET and self.hardware.config.reboot:
            logger("machine").info("reset")
            with self.gate.hold(vcpu):
                self._reset()
                self.gate.on_event(MachineEvent(EventKind.RESET, guest=self._asked_by_guest))
        else:
            with self.gate.lock:
                self.gate.end(Result.of_shutdown(asked))

    def _connect_controller(self, accelerator: Accelerator) -> None:
        """Wire the board's interrupts to ``accelerator``. Raises `BimetalError` if it has none."""
        if isinstance(accelerator, InterruptController):
            self.hardware.outlets.irqs.connect(lambda irq: accelerator.set_irq(*irq))
        elif (own := self.hardware.controller) is not None:
            self.hardware.outlets.irqs.connect(lambda irq: own.set_input(*irq))
        elif self.hardware.needs_controller:
            raise BimetalError(
                f"the accelerator {accelerator.name} has no interrupt controller for this board",
                "choose 'kvm'",
                ExitCode.UNAVAILABLE,
            )

    def _reset(self) -> None:
        self._doorbells.forget()
        self.hosting.reset()
        self.hardware.console.reset()
        self.hardware.reset()
        for vcpu in self.vcpus:
            vcpu.errands.clear()
            vcpu.starting = False
            vcpu.reset()
        if self._platform is not None:
            self._platform.load(self._fresh)
        self._renew_memory()
        try:
            self._boot.load()
            self.power_on()
        except BimetalError as error:
            self.gate.end(Result(Ending.STOPPED, error.exit_code, f"after a reset, {error}"))

    def _renew_memory(self) -> None:
        self._generation = self.hardware.space.generation
        self.accelerator.set_memory(self.hardware.space.slots())

    def _clock_set(self, seconds: int) -> None:
        self.gate.on_event(MachineEvent(EventKind.CLOCK, guest=True, seconds=seconds))

    def _drive(self, signal: CpuSignal) -> None:
        cpu, line, level = signal
        if self._tracing:
            trace.emit("irq", f"cpu{cpu} line {line} {'high' if level else 'low'}")
        self.vcpus[cpu].set_line(line, level)
