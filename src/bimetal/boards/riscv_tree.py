"""The device tree of a RISC-V board, derived from what stands on it.

Node names, compatibles and structure are those of QEMU's ``virt``, which is what stock kernels
and firmware are tested with; bindings are those of the Linux kernel's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.boards.nodes import device_node, memory_node
from bimetal.boards.pci import PciLayout, intx_pins, pci_node
from bimetal.boards.riscv_lines import MEIP, MSIP, MTIP, SEIP
from bimetal.devices.config.vmgenid import VmGenId
from bimetal.devices.device import Device
from bimetal.devices.irq.aplic import Aplic
from bimetal.devices.irq.aplic_messages import MessageAplic
from bimetal.devices.irq.imsic import Imsic
from bimetal.devices.irq.pin import Pin
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.power.sifive_test import PASS, RESET, SifiveTest
from bimetal.devices.serial.ns16550a import Ns16550a
from bimetal.devices.timer.aclint import TIMEBASE_HZ
from bimetal.firmware.devicetree import Node
from bimetal.machine.chassis import Chassis, CpuLine
from bimetal.machine.placements import Placement

__all__ = ["describe_board"]

CACHE_BLOCK = 64
AIA = ("smaia", "ssaia")
"""The extensions that harts have beside IMSICs."""
EDGE, LEVEL = 1, 4
"""How an interrupt is told, as the binding of APLICs numbers that."""

LINES_IN_ORDER = (MSIP, MTIP, MEIP, SEIP)
"""How the interrupts that one device sends to a hart are ordered."""


def describe_board(chassis: Chassis, ram_at: int, model: str, pci: PciLayout) -> Node:
    """The tree of ``chassis``, whose PCI Express is at ``pci``; ``/chosen`` is there, and empty but
    for the console."""
    root = Node(
        "",
        {
            "#address-cells": 2,
            "#size-cells": 2,
            "compatible": "riscv-virtio",
            "model": model,
        },
    )
    chosen = root.add(Node("chosen"))
    aliases = root.add(Node("aliases"))
    root.add(memory_node(ram_at, chassis.config.memory))
    placements = [each for each in chassis.placements if each.in_memory]
    extensions = [*chassis.processor.extensions, *(AIA if _files(placements) else ())]
    controllers = _describe_cpus(root, chassis.config.cpus, extensions)
    soc = root.add(
        Node(
            "soc",
            {"#address-cells": 2, "#size-cells": 2, "compatible": "simple-bus", "ranges": None},
        )
    )
    nodes: dict[Device, Node] = {}
    for placement in placements:
        if isinstance(placement.device, EcamHost):
            lines: list[tuple[int | Node, ...]] = [
                (_controller(pin, nodes), *_cells(pin)) for pin in intx_pins(placement)
            ]
            node = pci_node(placement, pci, f"pci@{placement.at:x}", lines)
        else:
            node = device_node(placement)
        nodes[placement.device] = soc.add(node)
    _describe_domains(nodes)
    _describe_messages(nodes, _files(placements))
    for placement in placements:
        if isinstance(placement.device, EcamHost):
            continue
        _describe_interrupts(nodes[placement.device], placement, nodes, controllers)
        if isinstance(placement.device, SifiveTest):
            _describe_power(root, nodes[placement.device])
        if isinstance(placement.device, Ns16550a):
            serial = nodes[placement.device]
            aliases[f"serial{len(aliases.properties)}"] = serial.path
            chosen.properties.setdefault("stdout-path", serial.path)
    return root


def _describe_cpus(root: Node, count: int, extensions: Sequence[str]) -> list[Node]:
    """The harts; their interrupt controllers are what is returned."""
    cpus = root.add(
        Node("cpus", {"#address-cells": 1, "#size-cells": 0, "timebase-frequency": TIMEBASE_HZ})
    )
    harts = [cpus.add(_describe_hart(index, extensions)) for index in range(count)]
    controllers = [
        hart.add(
            Node(
                "interrupt-controller",
                {
                    "#interrupt-cells": 1,
                    "interrupt-controller": None,
                    "compatible": "riscv,cpu-intc",
                },
            )
        )
        for hart in harts
    ]
    cluster = cpus.add(Node("cpu-map")).add(Node("cluster0"))
    for index, hart in enumerate(harts):
        cluster.add(Node(f"core{index}", {"cpu": hart}))
    return controllers


def _describe_hart(index: int, extensions: Sequence[str]) -> Node:
    letters = "".join(name for name in extensions if len(name) == 1)
    names = [name for name in extensions if len(name) > 1]
    return Node(
        f"cpu@{index:x}",
        {
            "device_type": "cpu",
            "reg": index,
            "status": "okay",
            "compatible": "riscv",
            "riscv,isa": "_".join([f"rv64{letters}", *names]),
            "riscv,isa-base": "rv64i",
            "riscv,isa-extensions": tuple(extensions),
            "riscv,cbom-block-size": CACHE_BLOCK,
            "riscv,cboz-block-size": CACHE_BLOCK,
            "mmu-type": "riscv,sv48",
        },
    )


def _describe_interrupts(
    node: Node, placement: Placement, nodes: dict[Device, Node], controllers: Sequence[Node]
) -> None:
    """Where the outputs of a device lead: to pins of a controller, or to harts."""
    targets = [
        target
        for wire in placement.wires.values()
        for target in (wire if isinstance(wire, Sequence) else (wire,))
    ]
    pins = [target for target in targets if isinstance(target, Pin)]
    if pins:
        kind = EDGE if isinstance(placement.device, VmGenId) else LEVEL
        node["interrupts"] = tuple(cell for pin in pins for cell in _cells(pin, kind))
        node["interrupt-parent"] = _controller(pins[0], nodes)
    lines = [target for target in targets if isinstance(target, CpuLine)]
    lines.sort(key=lambda line: (line.cpu, LINES_IN_ORDER.index(line.line)))
    if lines:
        node["interrupts-extended"] = tuple(
            cell for line in lines for cell in (controllers[line.cpu], line.line)
        )


def _controller(pin: Pin, nodes: dict[Device, Node]) -> Node:
    """The node of what ``pin`` is an input of: of an APLIC, the domain that S-mode sees."""
    controller = pin.controller
    if isinstance(controller, Aplic) and controller.child is not None:
        controller = controller.child
    return next(node for device, node in nodes.items() if device.name == controller.name)


def _cells(pin: Pin, kind: int = LEVEL) -> tuple[int, ...]:
    """An input as the binding of its controller tells of it."""
    return (pin.number, kind) if isinstance(pin.controller, Aplic) else (pin.number,)


def _describe_domains(nodes: dict[Device, Node]) -> None:
    """The domains of an APLIC: whose child is whose. That of M-mode is not for the kernel where
    there is no firmware in M-mode."""
    for device, node in nodes.items():
        if isinstance(device, Aplic) and device.child is not None:
            child = nodes[device.child]
            node["riscv,children"] = child
            for name in ("riscv,delegation", "riscv,delegate"):  # OpenSBI 1.1 knows the second
                node[name] = (child, 1, device.sources)
            if device.delegating:
                node["status"] = "disabled"


def _files(placements: Sequence[Placement]) -> list[Device]:
    """The interrupt files, if there are any: those of M-mode and those of S-mode."""
    return [each.device for each in placements if isinstance(each.device, Imsic)]


def _describe_messages(nodes: dict[Device, Node], files: Sequence[Device]) -> None:
    """To which interrupt files messages go. Those of M-mode are for the kernel no more than what
    sends to them."""
    for device, node in nodes.items():
        if isinstance(device, EcamHost) and files:
            node["msi-parent"] = nodes[files[-1]]
        if isinstance(device, MessageAplic):
            node["msi-parent"] = nodes[files[0 if device.child is not None else -1]]
            if device.delegating:
                nodes[files[0]]["status"] = "disabled"


def _describe_power(root: Node, test: Node) -> None:
    for name, value in (("poweroff", PASS), ("reboot", RESET)):
        root.add(
            Node(
                name,
                {
                    "compatible": f"syscon-{name}",
                    "regmap": test,
                    "offset": 0,
                    "value": value,
                },
            )
        )
