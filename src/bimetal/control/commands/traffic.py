"""Commands that tell how much disks and NICs have moved."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.managed import Managed
from bimetal.control.qdev import qdev_of

__all__ = ["BlockDeviceStats", "BlockStats", "Lease", "NicStats", "query_blockstats", "query_nics"]


class BlockDeviceStats(Answer, rename=None):
    """What a drive has moved since the machine was started."""

    rd_bytes: Annotated[int, "bytes that were read"]
    wr_bytes: Annotated[int, "bytes that were written"]
    rd_operations: Annotated[int, "how often something was read"]
    wr_operations: Annotated[int, "how often something was written"]


class BlockStats(Answer):
    """A drive, and what it has moved."""

    device: Annotated[str, "its name, as query-block tells it"]
    qdev: Annotated[str, "where it is in the tree of objects"]
    node_name: Annotated[str | UnsetType, "what a client has called its image"]
    stats: Annotated[BlockDeviceStats, "what it has moved"]


class NicStats(Answer):
    """A NIC, and what it has moved since the machine was started."""

    mac: Annotated[str, "its address"]
    rx_bytes: Annotated[int, "bytes that the guest has received"]
    rx_packets: Annotated[int, "frames that the guest has received"]
    tx_bytes: Annotated[int, "bytes that the guest has sent"]
    tx_packets: Annotated[int, "frames that the guest has sent"]
    link: Annotated[bool, "whether its cable is plugged in, at both ends"]


class Lease(Answer):
    """An address that a user network has handed out."""

    mac: Annotated[str, "to which NIC"]
    address: Annotated[str, "the IPv4 address, with the length of its prefix"]


@MACHINE.command("bimetal-leases")
def query_leases(vm: Managed) -> list[Lease]:
    """List the addresses that user networks have handed out by DHCP."""
    return [Lease(mac=mac, address=address) for mac, address in vm.machine.leases()]


@MACHINE.command("query-blockstats")
def query_blockstats(
    vm: Managed,
    query_nodes: Annotated[bool, "accepted: images are those of drives"] = False,
) -> list[BlockStats]:
    """Tell how much the disks and CD-ROM drives have moved."""
    with vm.lock:
        given = {device: id_ for id_, device in vm.devices.items()}
        nodes = dict(vm.disks)
    found = []
    for drive in vm.machine.drives():
        id_, moved = given.get(drive.name, ""), drive.traffic
        found.append(
            BlockStats(
                device="" if id_ else drive.name,
                qdev=qdev_of(id_, drive.name),
                node_name=nodes.get(id_, UNSET),
                stats=BlockDeviceStats(
                    rd_bytes=moved.bytes_in,
                    wr_bytes=moved.bytes_out,
                    rd_operations=moved.times_in,
                    wr_operations=moved.times_out,
                ),
            )
        )
    return found


@MACHINE.command("bimetal-nics")
def query_nics(vm: Managed) -> list[NicStats]:
    """Tell how much the NICs have moved, and whether they have a link."""
    links = vm.machine.links()
    return [
        NicStats(
            mac=mac,
            rx_bytes=moved.bytes_in,
            rx_packets=moved.times_in,
            tx_bytes=moved.bytes_out,
            tx_packets=moved.times_out,
            link=links.get(mac, False),
        )
        for mac, moved in vm.machine.traffic().items()
    ]
