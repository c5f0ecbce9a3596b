"""What a board puts together: memory and devices at addresses, wires between them.

The verbs of boards. A chassis has no CPU yet: wires to CPUs are remembered by number and lead to
whatever CPUs the machine gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from bimetal.base.clock import Clock
from bimetal.base.near import did_you_mean
from bimetal.devices.device import Device
from bimetal.devices.flash.pflash import PFlash
from bimetal.devices.output import Level, Line, Output
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.machine.cpus import CpuControl
from bimetal.memory.access import Access
from bimetal.memory.initiator import Initiator
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace, Region
from bimetal.seam import Cpu, InterruptController, Shutdown

__all__ = ["Boot", "Chassis", "CpuLine", "Placement"]


class Boot(Protocol):
    """How the CPUs of a board start, and who answers their calls to firmware."""

    firmware_calls: bool
    """Whether calls to firmware come to `call` instead of trapping into the guest."""

    hypervisor: bool
    """Whether CPUs have the mode of hypervisors, and start in it."""

    moved: Mapping[str, int]
    """How far programs lie from where they were linked, by path, once they are loaded."""

    def load(self) -> None:
        """Put programs and tables into memory, before the first start and after each reset.

        Raises `BimetalError` for files that cannot be used."""

    def device_tree(self) -> bytes:
        """The device tree as `load` makes it, as a flattened blob, without what is random in it.

        Raises `BimetalError` for files that cannot be used, and if the board has none."""

    def enter(self, cpu: Cpu) -> bool:
        """Set the registers of ``cpu``, which was just reset; False if it waits to be started."""

    def call(self, cpu: int, args: tuple[int, ...]) -> tuple[int, ...]:
        """Answer a firmware call of the CPU of that number, with the machine's lock held."""


class CpuLine:
    """Interrupt line ``line`` of CPU ``cpu``: call it with a level."""

    __slots__ = ("_chassis", "cpu", "line")

    def __init__(self, chassis: Chassis, cpu: int, line: int):
        self._chassis, self.cpu, self.line = chassis, cpu, line

    def __call__(self, level: bool) -> None:
        self._chassis.drive(self.cpu, self.line, level)

    def __repr__(self) -> str:
        return f"cpu{self.cpu} line {self.line}"


AnyDevice = TypeVar("AnyDevice", bound=Device)
Part = TypeVar("Part")

Wire = Callable[..., object] | Sequence[Line]
"""Where an output goes: one input for an output, as many as it has for a row."""


@dataclass(frozen=True)
class Placement:
    """A device on the board: its name, its first address, and the wires of its outputs. Its address
    may be a ``port``, or it has ``registers`` of the CPU whose number stands for the address."""

    device: Device
    at: int
    wires: Mapping[str, Wire]
    port: bool = False
    registers: bool = False


class Chassis:
    """A board under construction, and then what it became.

    ``config`` is what the user asked for, ``console`` the line of the machine's console, ``hvc``
    that of a virtio console if there is to be one. ``defer`` has a function called soon, by
    another thread, with the lock held.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        console: ConsoleLine,
        defer: Callable[[Callable[[], None]], None],
        hvc: ConsoleLine | None = None,
    ):
        self.config, self.clock, self.console, self.defer = config, clock, console, defer
        self.hvc = hvc
        self.space, self.ports = AddressSpace(), AddressSpace()
        self.initiator = Initiator()
        """Who makes the access that is under way, for devices that are another to each CPU."""
        self.unused = (0, 0)
        """Where a stretch of RAM begins and ends that nothing was loaded into, if that is known."""
        self.placements: list[Placement] = []
        self.registers: dict[int, Device] = {}
        """The devices that have registers of CPUs, by the number of the CPU."""
        self.memories: list[Ram] = []
        self._outputs: dict[tuple[int, int], Line] = {}
        self.boot: Boot | None = None
        self.cpus: CpuControl | None = None
        """The CPUs, once there are some."""
        self.driver: Callable[[int, int, bool], None] | None = None
        """Drives a CPU's line, once there are CPUs: (cpu, line, level)."""
        self.powered: Callable[[Shutdown], None] | None = None
        """Hears how the guest ends its run."""
        self.controller: InterruptController | None = None
        """The accelerator, once there is one, if it models the interrupt controller."""
        self.needs_controller = False
        self.power_button: Callable[[], None] | None = None
        """Presses the button that asks a system to switch off, if the board has one."""

    # Verbs

    def ram(self, *, at: int, size: int | None = None, name: str = "ram") -> Ram:
        """Put RAM at ``at``: as much as the user wants, unless ``size`` says otherwise."""
        return self._memory(Ram(name, self.config.memory if size is None else size), at)

    def rom(self, *, at: int, size: int, name: str = "rom") -> Ram:
        """Put read-only memory at ``at``."""
        return self._memory(Ram(name, size, readonly=True), at)

    def add(self, device: AnyDevice, *, at: int, **wires: Wire) -> AnyDevice:
        """Put ``device`` at the address ``at`` and connect its outputs, given by name.

        ValueError for an output that the device does not have, or an address that is taken.
        """
        device.rename(f"{device.kind}@{at:x}")
        _connect(device, wires)
        self.placements.append(Placement(device, at, wires))
        region = Region(at, device.mmio_size, device.name, device=device, access=device.access)
        if isinstance(device, PFlash):
            region.memory, region.direct = device.direct_memory, device.direct.high
            device.direct.connect(partial(self.space.set_direct, region))
        self.space.add(region)
        return device

    def add_port(
        self, device: AnyDevice, *, port: int, size: int | None = None, **wires: Wire
    ) -> AnyDevice:
        """Put ``device`` at the x86 I/O port ``port``, otherwise as `add`.

        ``size`` is the number of ports, if it is not that of the device's addresses. An access
        that is wider than the device is cut into accesses to the ports that follow, as on ISA."""
        device.rename(f"{device.kind}@{port:x}")
        _connect(device, wires)
        self.placements.append(Placement(device, port, wires, port=True))
        access = Access(width=device.access.width)
        self.ports.add(
            Region(port, size or device.mmio_size, device.name, device=device, access=access)
        )
        return device

    def add_registers(self, device: AnyDevice, *, cpu: int, **wires: Wire) -> AnyDevice:
        """Let ``device`` have registers of CPU ``cpu``, as in `RegisterAccess`, one of 8 bytes for
        each number; otherwise as `add`."""
        device.rename(f"{device.kind}@cpu{cpu}")
        if cpu in self.registers:
            raise ValueError(f"{device.name}: {self.registers[cpu].name} has registers of that CPU")
        _connect(device, wires)
        self.placements.append(Placement(device, cpu, wires, registers=True))
        self.registers[cpu] = device
        return device

    def line(self, cpu: int, line: int) -> CpuLine:
        """Interrupt input ``line`` of CPU ``cpu``, to wire an output to."""
        return CpuLine(self, cpu, line)

    def wire_output(self, cpu: int, output: int, line: Line) -> None:
        """Lead the output ``output`` of CPU ``cpu`` to ``line``: one of its timers, for example."""
        self._outputs[cpu, output] = line

    def irq(self, number: int) -> Line:
        """Input ``number`` of the interrupt controller that the accelerator models."""
        self.needs_controller = True
        return partial(self._interrupt, number)

    def power(self, shutdown: Shutdown) -> None:
        """The input for outputs that end the run or reset the machine."""
        if self.powered is not None:
            self.powered(shutdown)

    def start_with(self, boot: Boot) -> None:
        """Say how the CPUs start."""
        self.boot = boot

    # What the machine does with it

    def drive(self, cpu: int, line: int, level: bool) -> None:
        """Drive a CPU's interrupt line; before there are CPUs, all lines are low."""
        if self.driver is not None:
            self.driver(cpu, line, level)

    def drive_outputs(self, cpu: int, levels: int) -> None:
        """Drive what the outputs of a CPU lead to; bit n of ``levels`` is output n."""
        for (owner, output), line in self._outputs.items():
            if owner == cpu:
                line(bool(levels >> output & 1))

    @property
    def device_names(self) -> list[str]:
        """The names of all devices, in the order in which they were added."""
        return [placement.device.name for placement in self.placements]

    def device(self, name: str) -> Device:
        """The device of that name, as in ``uart@10000000``. KeyError with the names."""
        for placement in self.placements:
            if placement.device.name == name:
                return placement.device
        names = self.device_names
        hint = did_you_mean(name, names)
        known = f"only {', '.join(names)}" + f"; {hint}" * bool(hint)
        raise KeyError(f"the machine has no device {name!r}, {known}")

    def only(self, kind: type[Part], name: str = "") -> Part:
        """The device of the class ``kind``; of several, that called ``name``. What virtio slots
        carry is found too. KeyError if there is not exactly one."""
        found = {
            placement.device.name: part
            for placement in self.placements
            for part in (placement.device, *placement.device.parts())
            if isinstance(part, kind) and name in ("", placement.device.name)
        }
        if len(found) == 1:
            return next(iter(found.values()))
        what = kind.__name__ + f" called {name}" * bool(name)
        if found:
            raise KeyError(f"several devices are a {what}: name one of {', '.join(found)}")
        raise KeyError(f"no device is a {what}, of {', '.join(self.device_names)}")

    def reset(self) -> None:
        """Reset every device."""
        for placement in self.placements:
            placement.device.reset()

    def close(self) -> None:
        """Close every device and give the memory back. Idempotent."""
        for placement in self.placements:
            placement.device.close()
        for ram in self.memories:
            ram.close()

    def _interrupt(self, number: int, level: bool) -> None:
        if self.controller is not None:
            self.controller.set_irq(number, level)

    def _memory(self, ram: Ram, at: int) -> Ram:
        self.memories.append(ram)
        self.space.add_memory(ram, at)
        return ram


def _connect(device: Device, wires: Mapping[str, Wire]) -> None:
    for name, wire in wires.items():
        if name not in device.outputs():
            known = ", ".join(device.outputs()) or "none"
            raise ValueError(f"{device.name} has no output {name!r}; its outputs are: {known}")
        output: Output[Any] | list[Level] = getattr(device, name)
        if isinstance(output, Output) and callable(wire):
            output.connect(wire)
        elif isinstance(output, list) and not callable(wire) and len(wire) == len(output):
            for each, target in zip(output, wire, strict=True):
                each.connect(target)
        else:
            wanted = f"{len(output)} inputs" if isinstance(output, list) else "one input"
            raise ValueError(f"the output {name} of {device.name} wants {wanted}, not {wire!r}")
