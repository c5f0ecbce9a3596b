"""Limits of a disk that come and go while the guest uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.control import Monitor
from tests.machine.live.conftest import MIB, Made, Writer

NONE = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)


def test_limits_come_and_go(made: Made, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    images.create(str(image), 16 * MIB, format="raw")
    machine = made(image, format="raw")
    writer = Writer(machine)
    with Monitor(machine) as monitor:
        monitor.execute("block_set_io_throttle", id="disk0", **{**NONE, "iops": 1})
        inserted = monitor.execute("query-block")[0]["inserted"]
        assert (inserted["iops"], inserted["bps"]) == (1, 0)
        with writer:
            writer.reach(1)  # the next ones wait for seconds
            monitor.execute("block_set_io_throttle", device="disk0", **NONE)
            writer.reach(200)
        for wrong in ({"iops_rd": 1}, {"bps_max": 1}, {"bps": -1}):
            with pytest.raises(BimetalError):
                monitor.execute("block_set_io_throttle", id="disk0", **{**NONE, **wrong})
    writer.check()


def test_other_disks_have_none(made: Made, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    images.create(str(image), 16 * MIB, format="raw")
    machine = made(image, format="raw", bus="scsi")
    with pytest.raises(BimetalError, match="only virtio disks"):
        machine.limit_disk("disk0", iops=1)
