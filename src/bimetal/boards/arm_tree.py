"""The device tree of an Arm board, derived from what stands on it.

Node names, compatibles and structure are those of QEMU's ``virt``, which is what stock kernels and
firmware are tested with; bindings are those of the Linux kernel's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bimetal.boards.arm_cpus import affinity
from bimetal.boards.arm_lines import HOST_TIMER, MONITORS, POWER_LINE, PPI, SPI, TIMERS
from bimetal.boards.nodes import device_node, memory_node
from bimetal.boards.pci import PciLayout, intx_pins, pci_node
from bimetal.devices.config.vmgenid import VmGenId
from bimetal.devices.device import Device
from bimetal.devices.flash.pflash import PFlash
from bimetal.devices.gpio.pl061 import Pl061
from bimetal.devices.irq.pin import Pin
from bimetal.devices.pci.bar import Kind
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.primecell import PrimeCell
from bimetal.devices.serial.pl011 import Pl011
from bimetal.devices.virtio.mmio_slot import VirtioSlot
from bimetal.firmware.acpi.gic import Gic
from bimetal.firmware.devicetree import Node, cells
from bimetal.machine.chassis import Chassis
from bimetal.machine.placements import Placement

__all__ = ["PERIPHERAL_HZ", "Controller", "describe_board"]

PERIPHERAL_HZ = 24_000_000
EDGE, LEVEL = 1, 4
"""How an interrupt is told, as the binding of Arm's GICs numbers that."""
KEY_POWER = 116


class Controller(Struct, frozen=True):
    """The interrupt controller as the tree tells of it: what it is, where, what its parts are, and
    what else there is to say; ``places`` are for ACPI. ``flags`` are for interrupts of its CPUs'
    own."""

    compatible: str
    reg: Sequence[int]
    parts: Sequence[Device]
    places: Gic
    flags: int = LEVEL
    properties: tuple[tuple[str, int], ...] = ()


class _Board:
    """A tree that is being made."""

    def __init__(self, chassis: Chassis, controller: Controller, pci: PciLayout):
        self.chassis, self.controller, self.pci = chassis, controller, pci
        self.messages: Node | None = None
        self.root = Node(
            "",
            {
                "#address-cells": 2,
                "#size-cells": 2,
                "compatible": "linux,dummy-virt",
                "model": "linux,dummy-virt",
            },
        )
        self.chosen = self.root.add(Node("chosen"))
        self.aliases = self.root.add(Node("aliases"))
        self.clock = self.root.add(
            Node(
                "apb-pclk",
                {
                    "compatible": "fixed-clock",
                    "#clock-cells": 0,
                    "clock-frequency": PERIPHERAL_HZ,
                    "clock-output-names": "clk24mhz",
                },
            )
        )
        self.intc = self.root.add(
            Node(
                f"intc@{controller.reg[0]:x}",
                {
                    "compatible": controller.compatible,
                    "#interrupt-cells": 3,
                    "interrupt-controller": None,
                    "reg": cells(*controller.reg),
                    "#address-cells": 2,
                    "#size-cells": 2,
                    "ranges": None,
                    **dict(controller.properties),
                },
            )
        )
        self.root["interrupt-parent"] = self.intc

    def devices(self) -> None:
        """All that stands on the board. Slots are told from the last to the first, in the order in
        which devices are put into them, so that kernels number these in that order."""
        placements = [each for each in self.chassis.placements if each.in_memory]
        slots = [each for each in placements if isinstance(each.device, VirtioSlot)]
        banks = [each for each in placements if isinstance(each.device, PFlash)]
        for placement in placements:
            if isinstance(placement.device, VirtioSlot | PFlash):
                continue
            self.device(placement)
        for placement in sorted(slots, key=lambda each: each.at, reverse=True):
            self.device(placement)
        if banks:
            node = device_node(banks[0])
            node["reg"] = cells(*(n for each in banks for n in (each.at, each.device.mmio_size)))
            self.root.add(node)

    def device(self, placement: Placement) -> None:
        """One device, unless the interrupt controller says what is to be said of it."""
        device = placement.device
        if not device.compatible:
            return
        if isinstance(device, EcamHost):
            self.host_bridge(placement)
            return
        node = device_node(placement)
        if device in self.controller.parts:
            self.messages = self.intc.add(node)
            return
        self.root.add(node)
        pins = [wire for wire in placement.wires.values() if isinstance(wire, Pin)]
        if pins:
            trigger = EDGE if isinstance(device, VirtioSlot | VmGenId) else LEVEL
            node["interrupts"] = tuple(
                cell for pin in pins for cell in (SPI, pin.number - 32, trigger)
            )
        if isinstance(device, VirtioSlot):
            node["dma-coherent"] = None
        if isinstance(device, PrimeCell):
            self.clocked(node, device)
        if isinstance(device, Pl011):
            self.aliases[f"serial{len(self.aliases.properties)}"] = node.path
            self.chosen.properties.setdefault("stdout-path", node.path)
        if isinstance(device, Pl061):
            self.power_key(node)

    def host_bridge(self, placement: Placement) -> None:
        """PCI Express; its node has its name by the memory of the bus, as QEMU's has."""
        memory = next(each for each in self.pci.windows if each.kind is Kind.MEMORY)
        lines = [(self.intc, 0, 0, SPI, pin.number - 32, LEVEL) for pin in intx_pins(placement)]
        name = f"pcie@{memory.at:x}"
        self.root.add(pci_node(placement, self.pci, name, lines, self.messages))

    def clocked(self, node: Node, device: Device) -> None:
        """PrimeCells have a clock of their bus; a serial port's divisor has another."""
        names = ("uartclk", "apb_pclk") if isinstance(device, Pl011) else ("apb_pclk",)
        node["clocks"] = (self.clock,) * len(names)
        node["clock-names"] = names

    def power_key(self, gpio: Node) -> None:
        """The key that asks a system to switch off."""
        keys = self.root.add(Node("gpio-keys", {"compatible": "gpio-keys"}))
        keys.add(
            Node(
                "poweroff",
                {
                    "label": "GPIO Key Poweroff",
                    "linux,code": KEY_POWER,
                    "gpios": (gpio, POWER_LINE, 0),
                },
            )
        )


def describe_board(
    chassis: Chassis,
    ram_at: int,
    controller: Controller,
    pci: PciLayout,
    *,
    firmware_calls: bool,
    hypervisor: bool,
) -> Node:
    """The tree of ``chassis``, whose RAM begins at ``ram_at`` and whose PCI Express is at ``pci``;
    ``/chosen`` is there, and empty but for the console."""
    board = _Board(chassis, controller, pci)
    root, config = board.root, chassis.config
    root.add(memory_node(ram_at, config.memory))
    if firmware_calls:
        _describe_psci(root, "smc" if hypervisor else "hvc")
    _describe_cpus(root, config.cpus, firmware_calls)
    timers = TIMERS + ((HOST_TIMER,) if hypervisor else ())
    root.add(
        Node(
            "timer",
            {
                "compatible": ("arm,armv8-timer", "arm,armv7-timer"),
                "always-on": None,
                "interrupts": tuple(
                    cell for number in timers for cell in (PPI, number - 16, controller.flags)
                ),
            },
        )
    )
    monitors = (PPI, MONITORS - 16, controller.flags)
    root.add(Node("pmu", {"compatible": "arm,armv8-pmuv3", "interrupts": monitors}))
    board.devices()
    return root


def _describe_psci(root: Node, method: str) -> None:
    root.add(
        Node(
            "psci",
            {
                "compatible": ("arm,psci-1.0", "arm,psci-0.2", "arm,psci"),
                "method": method,
                # For kernels that know version 0.1 alone.
                "cpu_suspend": 0xC400_0001,
                "cpu_off": 0x8400_0002,
                "cpu_on": 0xC400_0003,
                "migrate": 0xC400_0005,
            },
        )
    )


def _describe_cpus(root: Node, count: int, firmware_calls: bool) -> None:
    cpus = root.add(Node("cpus", {"#address-cells": 1, "#size-cells": 0}))
    nodes = []
    for index in range(count):
        number = affinity(index)
        node = cpus.add(Node(f"cpu@{number:x}", {"device_type": "cpu", "compatible": "arm,armv8"}))
        node["reg"] = number
        if firmware_calls:
            node["enable-method"] = "psci"
        nodes.append(node)
    cluster = cpus.add(Node("cpu-map")).add(Node("socket0")).add(Node("cluster0"))
    for index, node in enumerate(nodes):
        cluster.add(Node(f"core{index}", {"cpu": node}))
