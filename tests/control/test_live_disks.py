"""What clients of QMP do to disks in use, in the words and the order in which libvirt says it. What
is expected of events and answers was seen of QEMU 7.2 under libvirt 9.0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.control import Monitor
from bimetal.machine.live.seat import seats_of
from tests.control.talker import Talker

Made = Callable[..., Monitor]

SIZE = 8 << 20

BLOCK_JOB_FIELDS = {
    *("auto-finalize", "io-status", "device", "auto-dismiss", "busy", "len", "offset", "status"),
    *("paused", "speed", "ready", "type"),
}
READY, COMPLETED = "BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED"
FOLLOWS = (
    *("created", "running", "ready", READY),
    *("waiting", "pending", COMPLETED, "concluded", "null"),
)
GOES_THROUGH = ("created", "running", "waiting", "pending", COMPLETED, "concluded", "null")


@pytest.fixture
def client(monitored: Made, place: Path, tmp_path: Path) -> Iterator[Talker]:
    """A client of a machine with the disk ``d``, whose image is the node ``f0``."""
    monitored(board="riscv-virt,ports=2")
    with Talker(place) as talker:
        images.create(str(tmp_path / "0.qcow2"), SIZE, format="qcow2")
        tell(talker, tmp_path / "0.qcow2", 0)
        talker.value("device_add", driver="virtio-blk-pci", id="d", drive="f0")
        yield talker


def tell(client: Talker, path: Path, number: int, format: str = "qcow2") -> None:
    """Tell of an image, as the nodes ``sN`` and ``fN``."""
    client.value("blockdev-add", driver="file", node_name=f"s{number}", filename=str(path))
    client.value(
        "blockdev-add", driver=format, node_name=f"f{number}", file=f"s{number}", backing=None
    )


def create(client: Talker, path: Path, number: int, **more: Any) -> None:
    """Have an image made in a file, and tell of it."""
    path.touch()
    client.value("blockdev-add", driver="file", node_name=f"s{number}", filename=str(path))
    options = {"driver": "qcow2", "file": f"s{number}", "size": SIZE, "cluster-size": 65536, **more}
    client.value("blockdev-create", job_id="create", options=options)
    until(client, "concluded")
    (job,) = client.value("query-jobs")
    assert job == {
        "current-progress": 1,
        "status": "concluded",
        "total-progress": 1,
        "type": "create",
        "id": "create",
    }
    client.value("job-dismiss", id="create")
    node = {"driver": "qcow2", "node_name": f"f{number}", "file": f"s{number}", "backing": None}
    client.value("blockdev-add", **node)
    until(client, "null")


def overlay(client: Talker, folder: Path, number: int) -> None:
    """Lay image N over N - 1."""
    below = {"backing-file": str(folder / f"{number - 1}.qcow2"), "backing-fmt": "qcow2"}
    create(client, folder / f"{number}.qcow2", number, **below)
    data = {"node": f"f{number - 1}", "overlay": f"f{number}"}
    client.value("transaction", actions=[{"type": "blockdev-snapshot", "data": data}])


def until(client: Talker, *wanted: str) -> list[str]:
    """Events of jobs, by the status or the name, up to the first that is wanted."""
    seen: list[str] = []
    while not seen or seen[-1] not in wanted:
        event = client.events.pop(0) if client.events else client.next()
        if event["event"] == "JOB_STATUS_CHANGE":
            seen.append(event["data"]["status"])
        elif event["event"].startswith("BLOCK_JOB"):
            seen.append(event["event"])
    return seen


def top(client: Talker) -> dict[str, Any]:
    (disk,) = client.value("query-block")
    inserted: dict[str, Any] = disk["inserted"]
    return inserted


def test_an_overlay_and_a_commit_with_a_pivot(client: Talker, tmp_path: Path) -> None:
    overlay(client, tmp_path, 1)
    seen = top(client)
    assert (seen["node-name"], seen["file"]) == ("f1", str(tmp_path / "1.qcow2"))
    assert seen["backing_file"] == str(tmp_path / "0.qcow2")
    assert seen["image"]["backing-image"]["filename"] == str(tmp_path / "0.qcow2")
    terms = {"auto_finalize": True, "auto_dismiss": False}
    client.value("block-commit", device="f1", job_id="j", top_node="f1", base_node="f0", **terms)
    told = until(client, READY)
    (job,) = client.value("query-block-jobs")
    assert job.keys() == BLOCK_JOB_FIELDS
    assert (job["device"], job["type"], job["ready"], job["len"]) == ("j", "commit", True, 0)
    client.value("job-complete", id="j")
    told += until(client, "concluded")
    assert client.value("query-jobs")[0]["status"] == "concluded"
    client.value("job-dismiss", id="j")
    told += until(client, "null")
    assert tuple(told) == FOLLOWS
    assert top(client)["node-name"] == "f0"
    for node in ("f1", "s1"):
        client.value("blockdev-del", node_name=node)
    assert "in use by d" in client.refused("blockdev-del", node_name="f0")[1]


def test_a_stream(client: Talker, tmp_path: Path) -> None:
    overlay(client, tmp_path, 1)
    assert "in use by d" in client.refused("blockdev-del", node_name="f0")[1]
    client.value("block-stream", device="f1", job_id="j", auto_dismiss=False)
    told = until(client, "concluded")
    client.value("job-dismiss", id="j")
    assert (*told, *until(client, "null")) == GOES_THROUGH
    for node in ("f0", "s0"):
        client.value("blockdev-del", node_name=node)
    assert images.information(str(tmp_path / "1.qcow2"), shared=True).backing is None


def test_a_commit_between_images(client: Talker, tmp_path: Path) -> None:
    overlay(client, tmp_path, 1)
    overlay(client, tmp_path, 2)
    client.value("block-commit", device="f2", job_id="j", top_node="f1", base_node="f0")
    assert tuple(until(client, "null")) == GOES_THROUGH
    client.value("blockdev-del", node_name="f1")
    nodes = {each["node-name"]: each for each in client.value("query-named-block-nodes", flat=True)}
    assert nodes["f2"]["image"]["full-backing-filename"] == str(tmp_path / "0.qcow2")
    assert nodes["f0"]["ro"]
    assert not nodes["f2"]["ro"]
    assert nodes["f0"]["image"]["cluster-size"] == 65536
    assert "backing-image" not in nodes["f2"]["image"]


def test_a_mirror_and_ways_to_end_it(client: Talker, tmp_path: Path) -> None:
    create(client, tmp_path / "1.qcow2", 1)
    mirror = {"device": "f0", "target": "f1", "sync": "full", "job_id": "j"}
    client.value("blockdev-mirror", **mirror)
    assert until(client, READY)[-2:] == ["ready", READY]
    client.value("block-job-cancel", device="j", force=True)
    assert until(client, "null")[:2] == ["aborting", "BLOCK_JOB_CANCELLED"]
    client.value("blockdev-mirror", replaces="f0", **mirror)
    until(client, READY)
    client.value("block-job-cancel", device="j")
    assert COMPLETED in until(client, "null")
    assert top(client)["node-name"] == "f0"
    client.value("blockdev-mirror", **mirror)
    until(client, READY)
    client.value("block-job-pause", device="j")
    assert until(client, "standby")
    assert client.value("query-block-jobs")[0]["paused"]
    client.value("block-job-resume", device="j")
    until(client, "ready")
    client.value("block-job-set-speed", device="j", speed=1 << 20)
    assert client.value("query-block-jobs")[0]["speed"] == 1 << 20
    client.value("block-job-complete", device="j")
    until(client, "null")
    assert top(client)["node-name"] == "f1"
    assert client.refused("block-job-cancel", device="j")[0] == "DeviceNotActive"


def test_images_that_nobody_has_told_of(client: Talker, tmp_path: Path) -> None:
    over, copy, kept = (str(tmp_path / name) for name in ("over.qcow2", "copy.img", "kept.qcow2"))
    client.value("blockdev-snapshot-sync", device="d", snapshot_file=over, snapshot_node_name="o")
    assert top(client)["node-name"] == "o"
    assert (
        "there already"
        in client.refused("blockdev-snapshot-sync", device="d", snapshot_file=over)[1]
    )
    client.value("drive-backup", device="d", target=kept, sync="full", format="qcow2")
    until(client, "null")
    client.value("drive-mirror", device="d", target=copy, sync="full", format="raw", job_id="j")
    until(client, READY)
    client.value("block-job-complete", device="j")
    until(client, "null")
    assert (top(client)["file"], top(client)["drv"]) == (copy, "raw")
    assert images.information(kept, shared=True).size == SIZE
    client.value("block_resize", device="d", size=2 * SIZE)
    assert top(client)["image"]["virtual-size"] == 2 * SIZE


def test_an_image_that_nobody_has_told_of_frees_the_node_before(
    client: Talker, tmp_path: Path
) -> None:
    mirror = {"device": "d", "sync": "full", "format": "raw", "job_id": "j"}
    client.value("drive-mirror", target=str(tmp_path / "copy.img"), **mirror)
    until(client, READY)
    client.value("block-job-complete", device="j")
    until(client, "null")
    assert "node-name" not in top(client)
    for node in ("f0", "s0"):
        client.value("blockdev-del", node_name=node)
    tell(client, tmp_path / "copy.img", 1, "raw")
    assert "in use by d" in client.refused("blockdev-del", node_name="f1")[1]


def test_several_at_one_moment(client: Talker, tmp_path: Path) -> None:
    image = tmp_path / "e.img"
    image.write_bytes(bytes(SIZE))
    tell(client, image, 7, "raw")
    client.value("device_add", driver="virtio-blk-pci", id="e", drive="f7")
    snapshot = [
        {
            "type": "blockdev-snapshot-sync",
            "data": {"device": name, "snapshot-file": str(tmp_path / f"{name}.new")},
        }
        for name in ("d", "e")
    ]
    wrong = {"type": "blockdev-snapshot-sync", "data": {"device": "x", "snapshot-file": "y"}}
    assert "no disk 'x'" in client.refused("transaction", actions=[*snapshot, wrong])[1]
    assert not (tmp_path / "d.new").exists()
    client.value("transaction", actions=snapshot)
    files = [each["inserted"]["file"] for each in client.value("query-block")]
    assert files == [str(tmp_path / "d.new"), str(tmp_path / "e.new")]
    backup = [
        {
            "type": "drive-backup",
            "data": {
                "device": name,
                "target": str(tmp_path / f"{name}.qcow2"),
                "sync": "full",
                "format": "qcow2",
                "job-id": name,
            },
        }
        for name in ("d", "e")
    ]
    client.value("transaction", actions=backup)
    for _ in backup:
        until(client, "null")
    assert images.compare(str(tmp_path / "e.qcow2"), str(image)).identical


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        ("block-commit", {"device": "x"}, "no disk 'x'"),
        ("block-commit", {"device": "d"}, "does not lie on"),
        ("block-commit", {"device": "d", "base_node": "s0"}, "no node 's0' of an image"),
        ("block-commit", {"device": "d", "base_node": "f0", "base": "y"}, "not both"),
        ("block-stream", {"device": "f0", "base": "y"}, "none of the images"),
        ("blockdev-mirror", {"device": "d", "target": "y", "sync": "full"}, "no node 'y'"),
        ("blockdev-mirror", {"device": "d", "target": "f0", "sync": "full"}, "in use"),
        (
            "blockdev-mirror",
            {"device": "d", "target": "f0", "sync": "full", "replaces": "y"},
            "no node 'y'",
        ),
        ("blockdev-backup", {"device": "d", "target": "f0", "sync": "full"}, "in use"),
        ("drive-backup", {"device": "d", "target": "made", "sync": "bitmap"}, "bitmap"),
        ("blockdev-snapshot", {"node": "f0", "overlay": "f0"}, "in use"),
        ("block_resize", {"device": "d", "size": 512}, "would lose"),
        ("blockdev-create", {"job_id": "j", "options": {"driver": "vmdk"}}, "need a driver"),
        (
            "blockdev-create",
            {"job_id": "j", "options": {"driver": "qcow2", "size": SIZE, "file": "f0"}},
            "no node 'f0' of a file",
        ),
        (
            "blockdev-create",
            {"job_id": "j", "options": {"driver": "raw", "size": 1, "file": "s0", "nocow": True}},
            "no option 'nocow'",
        ),
        (
            "transaction",
            {"actions": [{"type": "block-commit", "data": {"device": "d"}}]},
            "'block-commit' is not done in a transaction",
        ),
        (
            "transaction",
            {"actions": [{"type": "blockdev-snapshot", "data": {"node": "f0"}}]},
            "needs overlay",
        ),
        (
            "transaction",
            {"actions": [{"type": "drive-backup", "data": {"node": "f0"}}]},
            "takes no node",
        ),
        ("job-complete", {"id": "y"}, "no job 'y'"),
        ("job-dismiss", {"id": "y"}, "no job 'y'"),
    ],
)
def test_what_cannot_be(
    client: Talker, tmp_path: Path, command: str, arguments: Any, why: str
) -> None:
    made = tmp_path / "made"
    if command == "drive-backup":
        arguments = {**arguments, "target": str(made)}
    assert why in client.refused(command, **arguments)[1]
    assert top(client)["node-name"] == "f0"
    assert client.value("query-jobs") == []
    assert not made.exists()


def test_limits_by_the_names_that_libvirt_says(client: Talker) -> None:
    names = [f"{what}{which}{most}" for most in ("", "_max") for what in ("bps", "iops")
             for which in ("", "_rd", "_wr")]  # fmt: skip
    limits = {**dict.fromkeys(names, 0), "iops_size": 0, "iops": 1000}
    place = "/machine/peripheral/d/virtio-backend"
    order = {"execute": "block_set_io_throttle", "arguments": {"id": place, **limits}}
    client.send(json.dumps(order))
    assert client.answer() == {"return": {}}
    assert (top(client)["iops"], top(client)["bps"]) == (1000, 0)


def test_what_is_done_about_errors_of_a_disk(monitored: Made, tmp_path: Path) -> None:
    monitor = monitored(board="riscv-virt,ports=2")
    policies = [{}, {"werror": "auto"}, {"werror": "stop", "rerror": "ignore"}]
    for number, policy in enumerate(policies):
        (tmp_path / str(number)).write_bytes(bytes(512))
        file = {"driver": "file", "filename": str(tmp_path / str(number))}
        monitor.execute("blockdev-add", driver="raw", **{"node-name": f"n{number}"}, file=file)
        plug = {"driver": "virtio-blk-pci", "id": f"d{number}", "drive": f"n{number}", **policy}
        monitor.execute("device_add", **plug)
        monitor.execute("query-block")
        with monitor.vm.machine._built().locked():
            config = [*seats_of(monitor.vm.machine._built())][-1].config
        expected = {"werror": config.write_policy, "rerror": config.read_errors}
        usual = {"werror": "enospc", "rerror": "report"}
        asked = {name: word for name, word in policy.items() if word != "auto"}
        assert expected == usual | asked
        monitor.vm.machine.unplug(monitor.vm.devices[f"d{number}"], force=True)


def test_an_image_in_use_is_not_made_anew(client: Talker, tmp_path: Path) -> None:
    before = (tmp_path / "0.qcow2").read_bytes()
    options = {"driver": "qcow2", "file": "s0", "size": SIZE}
    client.value("blockdev-create", job_id="j", options=options)
    until(client, "concluded")
    assert "in use" in client.value("query-jobs")[0]["error"]
    assert (tmp_path / "0.qcow2").read_bytes() == before
