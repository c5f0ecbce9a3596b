"""The value of ``--disk``."""

from __future__ import annotations

import pytest

from bimetal import BimetalError, ExitCode
from bimetal.cli.disks import DiskOption, parse_disk


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("root.img", DiskOption("root.img")),
        ("root.img,readonly", DiskOption("root.img", readonly=True)),
        ("root.img,snapshot", DiskOption("root.img", snapshot=True)),
        ("root.img,serial=A 1", DiskOption("root.img", serial="A 1")),
        (
            "/a,,b/c.img,readonly,snapshot,serial=x,,y",
            DiskOption("/a,b/c.img", readonly=True, snapshot=True, serial="x,y"),
        ),
    ],
)
def test_what_a_disk_says(text: str, disk: DiskOption) -> None:
    assert parse_disk(text) == disk


@pytest.mark.parametrize(
    "text", ["", ",readonly", "a,read-only", "a,serial", "a,readonly=yes", "a,"]
)
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BimetalError, match="--disk") as caught:
        parse_disk(text)
    assert caught.value.exit_code == ExitCode.USAGE
