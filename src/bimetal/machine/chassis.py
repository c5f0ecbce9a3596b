"""The verbs of boards: they put memory and devices at addresses, and wires between them.

A chassis has no CPU yet: wires to CPUs have numbers and end at its `Outlets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from bimetal.accel.choose import Described
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size
from bimetal.base.state import Stateful
from bimetal.devices.answers import Answer
from bimetal.devices.device import Device
from bimetal.devices.flash.pflash import PFlash
from bimetal.devices.irq.pin import Controller
from bimetal.devices.output import Level, Line, Output
from bimetal.devices.pci.function import Function
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.aside import Aside
from bimetal.machine.config import Config, Disk
from bimetal.machine.console import ConsoleLine
from bimetal.machine.hardware import Boot, CpuSignal, Hardware, HostEnd, IrqSignal, Outlets
from bimetal.machine.messages import MessageWrites
from bimetal.machine.placements import Placement, Placements, Wire
from bimetal.machine.sockets import Sockets
from bimetal.machine.usb import UsbSockets
from bimetal.machine.windows import BusWindows
from bimetal.memory.access import Access
from bimetal.memory.initiator import Initiator
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace, Region
from bimetal.screen.inputs import InputDevice
from bimetal.screen.screen import Screen
from bimetal.seam import SharedControllers

__all__ = ["Chassis", "CpuLine", "Failed"]


class CpuLine:
    """Interrupt line ``line`` of CPU ``cpu``: call it with a level."""

    __slots__ = ("_outlet", "cpu", "line")

    def __init__(self, outlet: Output[CpuSignal], cpu: int, line: int):
        self._outlet, self.cpu, self.line = outlet, cpu, line

    def __call__(self, level: bool) -> None:
        self._outlet(CpuSignal(self.cpu, self.line, level))

    def __repr__(self) -> str:
        return f"cpu{self.cpu} line {self.line}"


ANY = Described()

AnyDevice = TypeVar("AnyDevice", bound=Device)
AnyFunction = TypeVar("AnyFunction", bound=Function)
AnyStateful = TypeVar("AnyStateful", bound=Stateful)
Part = TypeVar("Part")


Failed = Callable[[object, Disk, OSError, bool], Answer]
"""Says what is done about an error of the host that a part has met, which is such a disk, and
whether something was written; see `Answers`."""


class Chassis:
    """A board under construction, which `finish` makes `Hardware`.

    ``config`` is what the user asked for, ``console`` the line of the machine's console, ``hvc``
    that of a virtio console if there is to be one, ``processor`` describes its CPUs. ``defer``
    has a function called soon by another thread, with the lock held, ``aside`` has work done
    without the lock, and ``failed`` is asked about errors of the host.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        console: ConsoleLine,
        defer: Turns,
        hvc: ConsoleLine | None = None,
        processor: Described = ANY,
        aside: Aside | None = None,
        failed: Failed | None = None,
    ):
        self.config, self.clock, self.console, self.defer = config, clock, console, defer
        self.aside, self.failed = aside, failed
        self.hvc, self.processor = hvc, processor
        self.space, self.ports = AddressSpace(), AddressSpace()
        self.initiator = Initiator()
        """The CPU that makes the current access, for devices that look different to each CPU."""
        self.placements = Placements()
        self.registers: dict[int, Device] = {}
        """The devices that have registers of CPUs, by the number of the CPU."""
        self.outlets = Outlets()
        self.power = self.outlets.power
        """The input for outputs that end the run or reset the machine."""
        self.rtc = self.outlets.rtc
        """The input for outputs of real-time clocks that the guest has set."""
        self._memories: list[Ram] = []
        self._timers: dict[tuple[int, int], Line] = {}
        self._boot: Boot | None = None
        self._parts: dict[str, Stateful] = {}
        self.controller: Controller | None = None
        """The interrupt controller that `irq` leads to where the accelerator models none."""
        self.handover: SharedControllers | None = None
        """Exchanges states of the board's own interrupt controllers and the accelerator's."""
        self._needs_controller = False
        self._host_ends: list[HostEnd] = []
        self.power_button: Callable[[], None] | None = None
        """Presses the board's power button; None if it has none."""
        self.sockets: Sockets | None = None
        """The board's slots for devices that come and go; None if it has none."""
        self.usb: UsbSockets | None = None
        """The sockets of the board's USB controller; None if it has none."""
        self.screen: Screen | None = None
        """What the display device shows; None if there is none."""
        self.inputs: dict[str, InputDevice] = {}
        """The input devices, by kind."""

    # Verbs

    def ram(self, *, at: int, size: int | None = None, name: str = "ram") -> Ram:
        """Put RAM at ``at``: as much as the user asked for, unless ``size`` is given. Raises
        `BimetalError` if it exceeds the CPUs' physical addresses."""
        size = self.config.memory if size is None else size
        bits = self.processor.physical_bits
        most = (1 << bits) - at
        if size > most and bits < 64:
            raise BimetalError(
                f"a memory of {format_size(size)} is too much for the {bits} bits "
                "of physical addresses that the processor model has",
                f"give it at most {format_size(most)}, or choose another model (--cpu help)",
                ExitCode.USAGE,
            )
        return self._memory(Ram(name, size), at)

    def rom(self, *, at: int, size: int, name: str = "rom") -> Ram:
        """Put read-only memory at ``at``."""
        return self._memory(Ram(name, size, readonly=True), at)

    def add(self, device: AnyDevice, *, at: int, **wires: Wire) -> AnyDevice:
        """Put ``device`` at the address ``at`` and connect its outputs, given by name.

        ValueError for an output that the device does not have, or an address that is taken;
        TypeError for a device that does not declare all of its state.
        """
        device.rename(f"{device.kind}@{at:x}")
        _connect(device, wires)
        self.placements.add(Placement(device, at, wires))
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
        self.placements.add(Placement(device, port, wires, port=True))
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
        self.placements.add(Placement(device, cpu, wires, registers=True))
        self.registers[cpu] = device
        return device

    def add_host(
        self, host: EcamHost, *, at: int, windows: Sequence[int], **wires: Wire
    ) -> EcamHost:
        """Put the PCI host bridge ``host`` at ``at`` and its windows at the addresses ``windows``,
        otherwise as `add`."""
        self.add(host, at=at, **wires)
        BusWindows(self.space, host, windows)
        host.message.connect(MessageWrites(self.space, host.events))
        return host

    def add_function(
        self, host: EcamHost, function: AnyFunction, *, slot: int, number: int = 0
    ) -> AnyFunction:
        """Put ``function`` into a slot of the root bus of ``host``, as the one of that number.
        ValueError if that is taken, or if there is no first one beside it."""
        function.rename(f"{function.kind}@00:{slot:02x}.{number}")
        _connect(function, {})
        host.bus.add(function, slot, number)
        self.placements.add(Placement(function, slot, {}, on_bus=True))
        return function

    def line(self, cpu: int, line: int) -> CpuLine:
        """Interrupt input ``line`` of CPU ``cpu``, to wire an output to."""
        return CpuLine(self.outlets.cpus, cpu, line)

    def wire_output(self, cpu: int, output: int, line: Line) -> None:
        """Wire output ``output`` of CPU ``cpu``, such as that of a timer, to ``line``."""
        self._timers[cpu, output] = line

    def keep(self, name: str, part: AnyStateful) -> AnyStateful:
        """Have snapshots keep the state of a part of the board that is no device."""
        if unsaid := list(part.undeclared()):
            raise TypeError(f"{', '.join(unsaid)}: say whether it is state (bimetal.base.state)")
        self._parts[name] = part
        return part

    def irq(self, number: int) -> Line:
        """Input ``number`` of the interrupt controller that the accelerator models, or else of the
        board's own."""
        self._needs_controller = True
        return lambda level: self.outlets.irqs(IrqSignal(number, level))

    def only(self, kind: type[Part], name: str = "") -> Part:
        """The one device of the class ``kind``, or called ``name`` too, that is there already: for
        a board that goes on with another one. KeyError if there is not exactly one."""
        return self.placements.only(kind, name)

    def serve(self, end: HostEnd) -> None:
        """Let the machine's service thread call ``end``, which a device has and closes."""
        self._host_ends.append(end)

    def start_with(self, boot: Boot) -> None:
        """Set how the CPUs start."""
        self._boot = boot

    # Completion

    def finish(self) -> Hardware:
        """The finished board. Raises ValueError if `start_with` was not called, and `BimetalError`
        if the board has no place for the display device, or the USB, that the user asked for."""
        if self._boot is None:
            raise ValueError("the board does not say how its CPUs start")
        if self.config.video is not None and self.screen is None:
            raise BimetalError(
                f"this board cannot have the display device {self.config.video.kind}",
                "choose another one, or another board",
                ExitCode.USAGE,
            )
        if self.config.usb_controller is not None and self.usb is None:
            raise BimetalError(
                "this board has no PCI, on which a USB controller would be",
                "choose another board, or devices that are not on USB",
                ExitCode.USAGE,
            )
        return Hardware(
            config=self.config,
            clock=self.clock,
            console=self.console,
            initiator=self.initiator,
            space=self.space,
            ports=self.ports,
            placements=self.placements,
            parts=self._parts,
            registers=dict(self.registers),
            memories=tuple(self._memories),
            outlets=self.outlets,
            timers=dict(self._timers),
            boot=self._boot,
            controller=self.controller,
            handover=self.handover,
            needs_controller=self._needs_controller,
            host_ends=tuple(self._host_ends),
            power_button=self.power_button,
            sockets=self.sockets,
            usb=self.usb,
            screen=self.screen,
            inputs=self.inputs,
        )

    def abandon(self) -> None:
        """Close every device and give the memory back: the board cannot be finished."""
        self.placements.close()
        for ram in self._memories:
            ram.close()

    def _memory(self, ram: Ram, at: int) -> Ram:
        self._memories.append(ram)
        self.space.add_memory(ram, at)
        return ram


def _connect(device: Device, wires: Mapping[str, Wire]) -> None:
    device.check_state()
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
