"""Clients are told once when an image is written beyond what they have said, as QEMU 7.2 does under
`virsh domblkthreshold`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bimetal.control import Monitor
from tests.control.talker import Talker
from tests.control.test_bitmap_commands import client, monitor, writes
from tests.control.test_live_disks import tell

__all__ = ["client", "monitor"]

MIB = 1 << 20


def threshold(client: Talker, node: str) -> int:
    nodes = {each["node-name"]: each for each in client.value("query-named-block-nodes", flat=True)}
    limit: int = nodes[node]["write_threshold"]
    return limit


def told(client: Talker) -> dict[str, Any]:
    """The next event of that kind."""
    while True:
        event = client.events.pop(0) if client.events else client.next()
        if event["event"] == "BLOCK_WRITE_THRESHOLD":
            data: dict[str, Any] = event["data"]
            return data


def test_what_is_written_to_a_disk(client: Talker, monitor: Monitor) -> None:
    client.value("block-set-write-threshold", node_name="f0", write_threshold=MIB)
    assert threshold(client, "f0") == MIB
    writes(monitor, MIB - 512, MIB, 2 * MIB)
    assert told(client) == {"node-name": "f0", "write-threshold": MIB, "amount-exceeded": 512}
    assert threshold(client, "f0") == 0
    client.value("block-set-write-threshold", node_name="f0", write_threshold=3 * MIB)
    client.value("block-set-write-threshold", node_name="f0", write_threshold=0)
    writes(monitor, 4 * MIB)
    client.value("block-set-write-threshold", node_name="f0", write_threshold=5 * MIB)
    writes(monitor, 6 * MIB)
    assert told(client)["amount-exceeded"] == MIB + 512


def test_how_far_a_qcow2_image_comes_in_its_file(
    client: Talker, monitor: Monitor, tmp_path: Path
) -> None:
    client.value("block-set-write-threshold", node_name="s0", write_threshold=MIB)
    writes(monitor, 7 * MIB)  # which is at the beginning of the file
    assert threshold(client, "s0") == MIB
    writes(monitor, *range(0, 2 * MIB, 64 << 10))
    data = told(client)
    assert (data["node-name"], data["write-threshold"]) == ("s0", MIB)
    assert 0 < data["amount-exceeded"] <= 64 << 10
    client.value("block-set-write-threshold", node_name="s0", write_threshold=65536)
    writes(monitor, 0)  # it is beyond that already
    assert told(client)["amount-exceeded"] > MIB


def test_the_file_of_a_raw_image_is_its_disk(
    client: Talker, monitor: Monitor, tmp_path: Path
) -> None:
    raw = tmp_path / "e.img"
    raw.write_bytes(bytes(MIB))
    tell(client, raw, 3, "raw")
    refusal = client.refused("block-set-write-threshold", node_name="f3", write_threshold=512)
    assert "no disk writes to" in refusal[1]
    client.value("device_add", driver="virtio-blk-pci", id="e", drive="f3")
    client.value("block-set-write-threshold", node_name="s3", write_threshold=512)
    writes(monitor, 0, 512, number=1)
    assert told(client) == {"node-name": "s3", "write-threshold": 512, "amount-exceeded": 512}


@pytest.mark.parametrize(
    ("node", "limit", "why"), [("f9", 1, "no node 'f9'"), ("f0", -1, "less than 0")]
)
def test_what_cannot_be(client: Talker, node: str, limit: int, why: str) -> None:
    refusal = client.refused("block-set-write-threshold", node_name=node, write_threshold=limit)
    assert refusal[0] == "GenericError"
    assert why in refusal[1]
