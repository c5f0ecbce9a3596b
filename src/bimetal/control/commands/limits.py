"""The command that limits how fast a disk is."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.commands.nodes import disk_of, refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.managed import Managed

__all__ = ["set_io_throttle"]

Each = Annotated[int, "reads or writes alone cannot be limited: 0"]
Burst = Annotated[int, "there are no bursts but a tenth of a second's: 0"]


@MACHINE.command("block_set_io_throttle", hyphens=False)
def set_io_throttle(
    vm: Managed,
    bps: Annotated[int, "bytes of a second, 0 without a limit"],
    bps_rd: Each,
    bps_wr: Each,
    iops: Annotated[int, "requests of a second, 0 without a limit"],
    iops_rd: Each,
    iops_wr: Each,
    device: Annotated[str, "the disk, by its name"] = "",
    id: Annotated[str, "the same by its device, or where that is"] = "",
    bps_max: Burst = 0,
    bps_rd_max: Burst = 0,
    bps_wr_max: Burst = 0,
    iops_max: Burst = 0,
    iops_rd_max: Burst = 0,
    iops_wr_max: Burst = 0,
    iops_size: Annotated[int, "requests count alike, however large they are: 0"] = 0,
) -> None:
    """Limit the requests and bytes of a second of a virtio disk, reads and writes together."""
    alone = bps_rd, bps_wr, iops_rd, iops_wr
    bursts = bps_max, bps_rd_max, bps_wr_max, iops_max, iops_rd_max, iops_wr_max, iops_size
    if any(alone):
        raise refused("reads and writes are limited together: say bps and iops")
    if any(bursts):
        raise refused("bursts of a tenth of a second are allowed, and no others")
    if min(bps, iops) < 0:
        raise refused("a limit is 0 or more")
    vm.machine.limit_disk(disk_of(vm, device or id), iops=iops, bps=bps)
