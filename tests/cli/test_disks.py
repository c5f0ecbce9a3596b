"""The value of ``--disk``."""

from __future__ import annotations

import pytest

from bimetal import BimetalError, ExitCode
from bimetal.cli.disks import FORM, DiskOption, parse_disk
from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("root.img", DiskOption("root.img")),
        ("root.img,readonly", DiskOption("root.img", readonly=True)),
        ("root.img,snapshot", DiskOption("root.img", snapshot=True)),
        ("root.img,readonly=on,snapshot=off", DiskOption("root.img", readonly=True)),
        ("root.img,format=raw", DiskOption("root.img", "raw")),
        ("root.img,snapshot,format=qcow2", DiskOption("root.img", "qcow2", snapshot=True)),
        ("root.img,bus=scsi", DiskOption("root.img", bus="scsi")),
        ("a,queues=4,iops=100,bps=20M", DiskOption("a", queues=4, iops=100, bps="20M")),
        ("root.img,serial=A 1", DiskOption("root.img", serial="A 1")),
        ("./file=root.img", DiskOption("./file=root.img")),
        (
            "/a,,b/c.img,readonly,snapshot,serial=x,,y",
            DiskOption("/a,b/c.img", readonly=True, snapshot=True, serial="x,y"),
        ),
    ],
)
def test_what_a_disk_says(text: str, disk: DiskOption) -> None:
    assert parse_disk(text) == disk


@pytest.mark.parametrize(
    "text",
    [
        "", ",readonly", "file=a.img", "a,read-only", "a,serial", "a,serial=", "a,readonly=yes",
        "a,", "a,format", "a,format=", "a,Format=raw", "a,cache=none", "a,b.img",
        "a,readonly,readonly", "a,queues=x", "a,iops=-1", "a,queues=",
        "a,format=raw,format=qcow2", "a,readonly=on,readonly=off",
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_with_all_that_means_something(text: str) -> None:
    with pytest.raises(BimetalError, match="--disk") as caught:
        parse_disk(text)
    assert caught.value.exit_code == ExitCode.USAGE
    for option in ("format=raw|qcow2", "readonly", "snapshot", "serial=TEXT"):
        assert option in caught.value.remedy


def test_the_help_tells_all_options(cli: Cli) -> None:
    told = cli("run", "--help").out
    assert FORM in told
    for name in DiskOption.__struct_fields__:
        assert name in FORM.lower()
