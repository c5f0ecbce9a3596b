"""A finished board: devices and memory at their addresses, and the wires that lead out.

Wires to CPUs, to an interrupt controller of the accelerator, and to whoever ends the run are
outputs, like those of devices: the machine connects to them once it has what they lead to. Until
then they are unconnected pins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct, field

from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Clock
from bimetal.base.state import Stateful
from bimetal.devices.device import Device
from bimetal.devices.irq.pin import Controller
from bimetal.devices.output import Line, Output
from bimetal.devices.part import Part
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.machine.cpus import CpuControl
from bimetal.machine.placements import Placements
from bimetal.machine.sockets import Sockets
from bimetal.machine.usb import UsbSockets
from bimetal.memory.initiator import Initiator
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace
from bimetal.screen.inputs import InputDevice
from bimetal.screen.screen import Screen
from bimetal.seam import Cpu, SharedControllers, Shutdown

__all__ = ["Boot", "CpuSignal", "Firmware", "Hardware", "HostEnd", "IrqSignal", "Outlets"]

Firmware = Callable[[int, tuple[int, ...]], tuple[int, ...]]
"""Answers a firmware call of the CPU of that number, by its arguments; the lock is held."""


class Boot(Protocol):
    """How the CPUs of a board start, and who answers their calls to firmware."""

    firmware_calls: bool
    """Whether firmware calls are exits, to be answered, instead of trapping into the guest."""

    hypervisor: bool
    """Whether CPUs have a hypervisor mode, and start in it."""

    moved: Mapping[str, int]
    """How far programs lie from where they were linked, by path, once they are loaded."""

    unused: tuple[int, int]
    """Start and end of a range of RAM into which nothing was loaded, if that is known."""

    def load(self) -> None:
        """Put programs and tables into memory, before there are CPUs and after each reset.

        Raises `BimetalError` for files that cannot be used."""

    def device_tree(self) -> bytes:
        """The device tree as `load` makes it, as a flattened blob, without what is random in it.

        Raises `BimetalError` for files that cannot be used, and if the board has none."""

    def enter(self, cpu: Cpu) -> bool:
        """Set the registers of ``cpu``, which was just reset; False if it waits to be started."""

    def firmware(self, cpus: CpuControl) -> Firmware:
        """Who answers the firmware calls of ``cpus``."""


class HostEnd(Protocol):
    """A back end of a device that waits for the host."""

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` call when the host has done something; the machine is about to start."""


class CpuSignal(NamedTuple):
    """The interrupt line ``line`` of CPU ``cpu`` has this level now."""

    cpu: int
    line: int
    level: bool


class IrqSignal(NamedTuple):
    """Input ``number`` of the accelerator's interrupt controller has this level now."""

    number: int
    level: bool


class Outlets(Struct, frozen=True):
    """Where wires leave the board: to CPUs, to the interrupt controller of an accelerator that
    models it, to whoever ends the run or resets the machine, and to whoever wants to know how many
    seconds the guest has set its real-time clock ahead of the host's."""

    cpus: Output[CpuSignal] = field(default_factory=lambda: Output("cpus"))
    irqs: Output[IrqSignal] = field(default_factory=lambda: Output("irqs"))
    power: Output[Shutdown] = field(default_factory=lambda: Output("power"))
    rtc: Output[int] = field(default_factory=lambda: Output("rtc"))


class Hardware(Struct, frozen=True):
    """A finished board. ``config``, ``clock``, ``console`` and ``initiator`` are as in `Chassis`.

    ``parts`` have state and are no devices. ``registers`` are the devices that have registers of
    CPUs, by the number of the CPU; ``timers`` the wires from the outputs of CPUs, by CPU and
    output. With ``needs_controller`` devices are wired to an interrupt controller that the
    accelerator has to model, unless there is a ``controller`` of the board's own; ``handover``
    exchanges the states of these. ``host_ends``
    belong to devices. ``power_button`` presses the button that asks a system to switch off,
    ``sockets`` are slots for hot plug, ``usb`` has sockets, and ``screen`` is what a display device
    shows, if the board has such. ``inputs`` are input devices by kind.
    """

    config: Config
    clock: Clock
    console: ConsoleLine
    initiator: Initiator
    space: AddressSpace
    ports: AddressSpace
    placements: Placements
    parts: Mapping[str, Stateful]
    registers: Mapping[int, Device]
    memories: Sequence[Ram]
    outlets: Outlets
    timers: Mapping[tuple[int, int], Line]
    boot: Boot
    controller: Controller | None
    handover: SharedControllers | None
    needs_controller: bool
    host_ends: Sequence[HostEnd]
    power_button: Callable[[], None] | None
    sockets: Sockets | None
    usb: UsbSockets | None
    screen: Screen | None
    inputs: Mapping[str, InputDevice]

    def drive_outputs(self, cpu: int, levels: int) -> None:
        """Drive what the outputs of a CPU lead to; bit n of ``levels`` is output n."""
        for (owner, output), line in self.timers.items():
            if owner == cpu:
                line(bool(levels >> output & 1))

    def reset(self) -> None:
        """Reset every device."""
        for placement in self.placements:
            placement.device.reset()

    def try_again(self) -> None:
        """Have devices try again what the host has had no room for."""
        for placement in self.placements:
            for part in placement.device.parts():
                if isinstance(part, Part):
                    part.try_again()

    def close(self) -> None:
        """Close every device and give the memory back. Idempotent."""
        self.placements.close()
        for ram in self.memories:
            ram.close()
