"""What the device trees of all boards say in the same way."""

from __future__ import annotations

from bimetal.firmware.devicetree import Node, cells
from bimetal.machine.placements import Placement

__all__ = ["device_node", "memory_node"]


def device_node(placement: Placement) -> Node:
    """The properties that every device's node has."""
    device = placement.device
    node = Node(f"{device.node_name or device.kind}@{placement.at:x}")
    node["compatible"] = device.compatible
    node["reg"] = cells(placement.at, device.mmio_size)
    node.properties.update(device.properties())
    return node


def memory_node(at: int, size: int) -> Node:
    """Memory of ``size`` bytes."""
    return Node(f"memory@{at:x}", {"device_type": "memory", "reg": cells(at, size)})
