"""What clients of QMP do with dirty bitmaps, in the words in which libvirt says it. What answers
are to be was seen of QEMU 7.2 under libvirt 9.0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.control import Monitor
from bimetal.machine.live.seat import seats_of
from tests.backends.block.qcow2 import qemu
from tests.backends.block.qcow2.test_recovery import flags_of_bitmaps
from tests.control.talker import Talker
from tests.control.test_live_disks import GOES_THROUGH, SIZE, create, tell, top, until

pytestmark = qemu.needs_qemu

Made = Callable[..., Monitor]
GRANULE = 64 << 10
NODE = {"node": "f0"}


@pytest.fixture
def monitor(monitored: Made, tmp_path: Path) -> Monitor:
    return monitored(board="riscv-virt,ports=2")


@pytest.fixture
def client(monitor: Monitor, place: Path, tmp_path: Path) -> Iterator[Talker]:
    """A client of a machine with the disk ``d``, whose image is the node ``f0``."""
    with Talker(place) as talker:
        images.create(str(tmp_path / "0.qcow2"), SIZE, format="qcow2")
        tell(talker, tmp_path / "0.qcow2", 0)
        talker.value("device_add", driver="virtio-blk-pci", id="d", drive="f0")
        yield talker


def writes(monitor: Monitor, *offsets: int, number: int = 0) -> None:
    """The guest writes there."""
    runner = monitor.vm.machine._built()
    with runner.locked():
        seat = [*seats_of(runner)][number]
    for offset in offsets:
        seat.visit(partial(seat.image.write, offset, b"x" * 512))


def bitmaps(client: Talker) -> dict[str, Any]:
    """Those of the disk, which its node has, too."""
    found: list[dict[str, Any]] = top(client).get("dirty-bitmaps", [])
    nodes = {each["node-name"]: each for each in client.value("query-named-block-nodes", flat=True)}
    assert nodes[top(client)["node-name"]].get("dirty-bitmaps", []) == found
    return {each["name"]: each for each in found}


def action(kind: str, **data: Any) -> dict[str, Any]:
    """An action on a bitmap, for a transaction."""
    return {"type": f"block-dirty-bitmap-{kind}", "data": {**NODE, **data}}


def test_a_bitmap_from_its_beginning_to_its_end(client: Talker) -> None:
    client.value("block-dirty-bitmap-add", **NODE, name="c1", persistent=True, disabled=False)
    assert bitmaps(client) == {
        "c1": {
            "name": "c1",
            "recording": True,
            "persistent": True,
            "busy": False,
            "granularity": GRANULE,
            "count": 0,
        }
    }
    client.value("block-dirty-bitmap-disable", **NODE, name="c1")
    assert not bitmaps(client)["c1"]["recording"]
    client.value("block-dirty-bitmap-enable", **NODE, name="c1")
    client.value("block-dirty-bitmap-clear", **NODE, name="c1")
    client.value("block-dirty-bitmap-add", node="d", name="c2", granularity=4096)
    client.value("block-dirty-bitmap-merge", **NODE, target="c2", bitmaps=["c1"])
    other = {"node": "f0", "name": "c2"}
    client.value("block-dirty-bitmap-merge", **NODE, target="c1", bitmaps=["c2", other])
    assert bitmaps(client)["c2"]["granularity"] == 4096
    for name in ("c1", "c2"):
        client.value("block-dirty-bitmap-remove", **NODE, name=name)
    assert "dirty-bitmaps" not in top(client)


def test_a_full_backup_and_an_incremental_one_as_libvirt_asks_for_them(
    client: Talker, monitor: Monitor, tmp_path: Path
) -> None:
    writes(monitor, 0, 1 << 20)
    create(client, tmp_path / "1.qcow2", 1)
    backup: dict[str, Any] = {
        "type": "blockdev-backup",
        "data": {
            "device": "f0",
            "job-id": "backup-vda",
            "target": "f1",
            "sync": "full",
            "auto-finalize": True,
            "auto-dismiss": False,
        },
    }
    added = action("add", name="c1", persistent=True, disabled=False)
    client.value("transaction", actions=[added, backup])
    told = until(client, "concluded")
    client.value("job-dismiss", id="backup-vda")
    assert (*told, *until(client, "null")) == GOES_THROUGH
    writes(monitor, 2 << 20)
    assert bitmaps(client)["c1"]["count"] == GRANULE

    below = {"backing-file": str(tmp_path / "0.qcow2"), "backing-fmt": "qcow2"}
    create(client, tmp_path / "2.qcow2", 2, **below)
    backup["data"] |= {"target": "f2", "sync": "incremental", "bitmap": "backup-vda"}
    client.value(
        "transaction",
        actions=[
            action("add", name="c2", persistent=True, disabled=False),
            action("add", name="backup-vda", persistent=False, disabled=True, granularity=GRANULE),
            action("merge", target="backup-vda", bitmaps=[{"node": "f0", "name": "c1"}]),
            backup,
        ],
    )
    until(client, "concluded")
    client.value("job-dismiss", id="backup-vda")
    until(client, "null")
    client.value("block-dirty-bitmap-remove", **NODE, name="backup-vda")
    assert [each["count"] for each in bitmaps(client).values()] == [GRANULE, 0]
    for node in ("f1", "f2"):
        client.value("blockdev-del", node_name=node)

    full, changed = tmp_path / "1.qcow2", tmp_path / "2.qcow2"
    qemu.img("rebase", "-u", "-f", "qcow2", "-b", full, "-F", "qcow2", changed)
    disk = ["--image-opts", f"driver=qcow2,file.filename={tmp_path}/0.qcow2,file.locking=off"]
    qemu.img("compare", "-U", *disk, f"driver=qcow2,file.filename={changed}")
    assert images.compare(str(full), str(changed)).identical is False


def test_backups_to_images_that_nobody_has_told_of(
    client: Talker, monitor: Monitor, tmp_path: Path
) -> None:
    client.value("block-dirty-bitmap-add", **NODE, name="b")
    writes(monitor, 0)
    words = {"device": "d", "format": "qcow2", "bitmap": "b"}
    target = str(tmp_path / "kept.qcow2")
    client.value("drive-backup", **words, target=target, sync="full", bitmap_mode="on-success")
    until(client, "null")
    assert bitmaps(client)["b"]["count"] == 0
    writes(monitor, 0, 2 << 20)
    for number, mode in enumerate(("never", "on-success")):
        target = str(tmp_path / f"{number}.more")
        client.value("drive-backup", **words, target=target, sync="bitmap", bitmap_mode=mode)
        until(client, "null")
        assert bitmaps(client)["b"]["count"] == {"never": 2 * GRANULE, "on-success": 0}[mode]


def test_images_that_others_lie_on_are_written_for_their_bitmaps(
    client: Talker, tmp_path: Path
) -> None:
    client.value("block-dirty-bitmap-add", **NODE, name="c1", persistent=True)
    below = {"backing-file": str(tmp_path / "0.qcow2"), "backing-fmt": "qcow2"}
    create(client, tmp_path / "1.qcow2", 1, **below)
    added = {"type": "block-dirty-bitmap-add", "data": {"node": "f1", "name": "c1"}}
    laid = {"type": "blockdev-snapshot", "data": {"node": "f0", "overlay": "f1"}}
    client.value("transaction", actions=[added, laid])
    refusal = client.refused("block-dirty-bitmap-remove", **NODE, name="c1")
    assert refusal[0] == "GenericError"
    assert "only read" in refusal[1]
    base = {"driver": "qcow2", "node-name": "f0", "file": "s0"}
    client.value("blockdev-reopen", options=[{**base, "read-only": False}])
    client.value("block-dirty-bitmap-remove", **NODE, name="c1")
    client.value("blockdev-reopen", options=[{**base, "read-only": True}])
    nodes = {each["node-name"]: each for each in client.value("query-named-block-nodes", flat=True)}
    assert nodes["f0"]["ro"]
    assert "dirty-bitmaps" not in nodes["f0"]
    assert [each["name"] for each in nodes["f1"]["dirty-bitmaps"]] == ["c1"]


def test_bitmaps_of_an_image_that_a_commit_has_replaced(
    client: Talker, monitor: Monitor, tmp_path: Path
) -> None:
    """They are there until the node is forgotten: libvirt merges them then."""
    below = {"backing-file": str(tmp_path / "0.qcow2"), "backing-fmt": "qcow2"}
    create(client, tmp_path / "1.qcow2", 1, **below)
    added = {"type": "block-dirty-bitmap-add", "data": {"node": "f1", "name": "c1"}}
    laid = {"type": "blockdev-snapshot", "data": {"node": "f0", "overlay": "f1"}}
    client.value("transaction", actions=[added, laid])
    writes(monitor, 3 << 20)
    client.value("block-commit", device="f1", job_id="j", top_node="f1", base_node="f0")
    until(client, "BLOCK_JOB_READY")
    client.value("job-complete", id="j")
    until(client, "null")
    assert bitmaps(client) == {}
    client.value(
        "transaction",
        actions=[
            action("add", name="c1", persistent=True),
            action("merge", target="c1", bitmaps=[{"node": "f1", "name": "c1"}]),
        ],
    )
    assert bitmaps(client)["c1"]["count"] == GRANULE
    client.value("blockdev-del", node_name="f1")
    gone = {"node": "f1", "name": "c1"}
    refusal = client.refused("block-dirty-bitmap-merge", **NODE, target="c1", bitmaps=[gone])
    assert "f1" in refusal[1]


def test_all_actions_or_none(client: Talker, tmp_path: Path) -> None:
    client.value("block-dirty-bitmap-add", **NODE, name="b", persistent=True)
    actions = [action("add", name="x"), action("remove", name="b"), action("clear", name="y")]
    assert "no dirty bitmap 'y'" in client.refused("transaction", actions=actions)[1]
    assert [*bitmaps(client)] == ["b"]


LONG = "n" * 1024
ADD, CLEAR, MERGE = (f"block-dirty-bitmap-{word}" for word in ("add", "clear", "merge"))


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        (ADD, {**NODE, "name": "b"}, "'b' already"),
        (ADD, {**NODE, "name": ""}, "is no name"),
        (ADD, {**NODE, "name": LONG}, "is no name"),
        (ADD, {**NODE, "name": "n", "granularity": 0}, "no power of two"),
        (ADD, {**NODE, "name": "n", "granularity": 48 << 10}, "no power of two"),
        (ADD, {**NODE, "name": "n", "granularity": 256}, "no power of two"),
        (ADD, {"node": "s0", "name": "n"}, "no node 's0' of an image"),
        (CLEAR, {**NODE, "name": "n"}, "no dirty bitmap 'n' (there are 'b', 'busy')"),
        (CLEAR, {**NODE, "name": "busy"}, "in use by a job"),
        (MERGE, {**NODE, "target": "b", "bitmaps": ["busy"]}, "in use by a job"),
        (MERGE, {**NODE, "target": "b", "bitmaps": ["n"]}, "no dirty bitmap 'n'"),
        (MERGE, {**NODE, "target": "b", "bitmaps": [{"node": "f0"}]}, "name"),
        ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "f9"}]}, "no node 'f9'"),
        (
            "blockdev-reopen",
            {"options": [{"driver": "raw", "node-name": "f0", "file": "s0"}]},
            "of another driver",
        ),
        (
            "blockdev-reopen",
            {"options": [{"driver": "qcow2", "node-name": "f0", "file": "s1"}]},
            "its file stays",
        ),
        (
            "blockdev-reopen",
            {"options": [{"driver": "qcow2", "node-name": "f0", "file": "s0", "backing": "f1"}]},
            "does not come to lie on",
        ),
        (
            "blockdev-reopen",
            {"options": [{"driver": "qcow2", "node-name": "f0", "file": "s0", "read-only": True}]},
            "does not lie below",
        ),
    ],
)
def test_what_cannot_be(
    client: Talker, tmp_path: Path, command: str, arguments: Any, why: str
) -> None:
    create(client, tmp_path / "1.qcow2", 1)
    for name in ("b", "busy"):
        client.value(ADD, **NODE, name=name)
    backup = {"device": "f0", "target": "f1", "sync": "full", "job_id": "j", "speed": 1}
    client.value("blockdev-backup", **backup, bitmap="busy", bitmap_mode="always")
    before = bitmaps(client)
    told = client.refused(command, **arguments)
    assert told[0] == "GenericError"
    assert why in told[1]
    assert bitmaps(client) == before
    client.value("block-job-cancel", device="j")
    until(client, "null")


def test_a_machine_that_is_killed_leaves_an_inconsistent_one(
    client: Talker, monitor: Monitor, tmp_path: Path
) -> None:
    """What is on the host's disk while the machine runs is what a kill leaves."""
    client.value("block-dirty-bitmap-add", **NODE, name="c1", persistent=True)
    writes(monitor, 0)
    left = tmp_path / "left.qcow2"
    left.write_bytes((tmp_path / "0.qcow2").read_bytes())
    assert flags_of_bitmaps(left) == {"c1": ["in-use", "auto"]}
    tell(client, left, 5)
    client.value("device_add", driver="virtio-blk-pci", id="e", drive="f5")
    found = client.value("query-block")[1]["inserted"]["dirty-bitmaps"]
    assert [(each["name"], each["inconsistent"], each["recording"]) for each in found] == [
        ("c1", True, False)
    ]
    for command in (CLEAR, "block-dirty-bitmap-enable"):
        assert "inconsistent" in client.refused(command, node="f5", name="c1")[1]
    client.value("block-dirty-bitmap-remove", node="f5", name="c1")
    monitor.vm.machine.close()
    assert flags_of_bitmaps(left) == {}
    assert flags_of_bitmaps(tmp_path / "0.qcow2") == {"c1": ["auto"]}
