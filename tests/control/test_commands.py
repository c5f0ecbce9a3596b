"""What each command does to a machine, and what it says of one."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.devices.rtc.goldfish import GoldfishRtc
from bimetal.machine.live.keeping import Keeping
from bimetal.machine.machine import Machine
from tests.control.conftest import Made
from tests.control.talker import Talker

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "late.img"
    path.write_bytes(bytes(MIB))
    return path


def test_what_a_machine_is(monitored: Made, place: Path) -> None:
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    monitored(name="crab", uuid=uuid)
    with Talker(place) as client:
        assert client.value("query-name") == {"name": "crab"}
        assert client.value("query-uuid") == {"UUID": str(uuid)}
        assert client.value("query-target") == {"arch": "riscv64"}
        assert client.value("query-kvm")["enabled"] is False
        assert client.value("query-memory-size-summary") == {
            "base-memory": 16 * MIB,
            "plugged-memory": 0,
        }
        (cpu,) = client.value("query-cpus-fast")
        assert cpu["cpu-index"] == 0
        assert Path(f"/proc/{os.getpid()}/task/{cpu['thread-id']}").exists()
        (board,) = [each for each in client.value("query-machines") if each["name"] == "riscv-virt"]
        assert board["cpu-max"] > 1
        (line,) = client.value("query-chardev")
        assert line == {"label": "serial0", "filename": "null", "frontend-open": True}


def test_a_machine_without_a_balloon(talker: Talker) -> None:
    assert talker.refused("query-balloon")[0] == "DeviceNotActive"
    assert talker.refused("balloon", value=MIB)[0] == "DeviceNotActive"


def test_a_balloon(monitored: Made, place: Path) -> None:
    monitored(prepare=lambda machine: machine.balloon())
    with Talker(place) as client:
        assert client.value("query-balloon") == {"actual": 16 * MIB}
        assert client.value("balloon", value=8 * MIB) == {}
        assert "cannot be given" in client.refused("balloon", value=32 * MIB)[1]
        assert client.refused("balloon", value=-1)[0] == "GenericError"


def test_the_power_button(monitored: Made, place: Path) -> None:
    monitored(board="arm-virt")
    with Talker(place) as client:
        client.value("system_powerdown")
        assert client.event("POWERDOWN")


def test_a_board_without_a_power_button(talker: Talker) -> None:
    assert "no power button" in talker.refused("system_powerdown")[1]


def with_drives(image: Path) -> Any:
    def prepare(machine: Machine) -> None:
        machine.disk(image, readonly=True)
        machine.cdrom()

    return prepare


def test_drives_and_media(monitored: Made, place: Path, image: Path) -> None:
    monitored(prepare=with_drives(image))
    with Talker(place) as client:
        disk, drive = client.value("query-block")
        assert (disk["device"], disk["removable"]) == ("disk0", False)
        assert disk["inserted"]["file"] == str(image)
        assert disk["inserted"]["ro"] is True
        assert disk["inserted"]["image"]["virtual-size"] == MIB
        assert (drive["device"], drive["removable"], drive["tray_open"]) == ("cd0", True, True)
        assert "inserted" not in drive
        client.value("blockdev-change-medium", device="cd0", filename=str(image))
        drive = client.value("query-block")[1]
        assert drive["inserted"]["file"] == str(image)
        client.value("eject", id="cd0")
        assert "inserted" not in client.value("query-block")[1]
        assert client.refused("eject", device="cd1")[0] == "DeviceNotFound"
        assert "could be changed" in client.refused("eject", device="disk0")[1]
        assert (
            "missing"
            in client.refused("blockdev-change-medium", device="cd0", filename="/missing")[1]
        )


def test_a_guest_that_sets_its_clock(monitored: Made, place: Path) -> None:
    monitor = monitored()
    with Talker(place) as client:
        runner = monitor.vm.machine._built()
        with runner.locked():
            rtc = runner.hardware.placements.only(GoldfishRtc)
            wanted = runner.clock.wall_ns() + 90 * 10**9
            rtc.write(4, 4, wanted >> 32)
            rtc.write(0, 4, wanted & 0xFFFF_FFFF)
        assert client.event("RTC_CHANGE")["data"] == {"offset": 90, "qom-path": "/machine/rtc"}


def plugged(monitored: Made, **options: Any) -> None:
    monitored(board="riscv-virt,ports=2", **options)


def test_a_disk_is_plugged_in_and_pulled_out(monitored: Made, place: Path, image: Path) -> None:
    plugged(monitored)
    with Talker(place) as client:
        client.value("blockdev-add", driver="file", node_name="s", filename=str(image))
        client.value("blockdev-add", driver="raw", node_name="f", file="s", read_only=True)
        client.value("device_add", driver="virtio-blk-pci", id="d", drive="f")
        (disk,) = client.value("query-block")
        assert disk["qdev"] == "/machine/peripheral/d/virtio-backend"
        assert disk["inserted"]["node-name"] == "f"
        assert "in use by d" in client.refused("blockdev-del", node_name="f")[1]
        assert "in use by f" in client.refused("blockdev-del", node_name="s")[1]
        assert (
            "a disk already"
            in client.refused("device_add", driver="virtio-blk-pci", id="e", drive="f")[1]
        )
        client.value("device_del", id="d", force=True)
        told = client.event("DEVICE_DELETED")["data"]
        assert told == {"device": "d", "path": "/machine/peripheral/d"}
        assert client.value("query-block") == []
        client.value("blockdev-del", node_name="f")
        client.value("blockdev-del", node_name="s")
        assert client.refused("device_del", id="d")[0] == "DeviceNotFound"


def test_a_guest_without_a_driver_keeps_its_disk(monitored: Made, place: Path, image: Path) -> None:
    plugged(monitored)
    with Talker(place) as client:
        options = {"driver": "file", "filename": str(image)}
        client.value("blockdev-add", driver="raw", node_name="f", file=options)
        client.value("device_add", driver="virtio-blk-pci", id="d", drive="f")
        client.value("device_del", id="d")
        assert len(client.value("query-block")) == 1
        assert not client.events


def test_a_nic_is_plugged_in(monitored: Made, place: Path) -> None:
    plugged(monitored)
    with Talker(place) as client:
        client.value("device_add", driver="virtio-net-pci", id="n", mac="52:54:00:00:00:07")
        assert "already" in client.refused("device_add", driver="virtio-net-pci", id="n")[1]
        client.value("device_del", id="n", force=True)
        assert client.event("DEVICE_DELETED")["data"]["device"] == "n"


def test_a_network_is_told_of_and_gets_a_nic(monitored: Made, place: Path) -> None:
    plugged(monitored)
    with Talker(place) as client:
        forward = [{"str": "tcp:127.0.0.1:0-:22"}]
        client.value("netdev_add", type="user", id="net", hostfwd=forward, restrict=True)
        assert "already" in client.refused("netdev_add", type="user", id="net")[1]
        nic = {"driver": "virtio-net-pci", "netdev": "net"}
        assert "no network" in client.refused("device_add", **{**nic, "netdev": "x"}, id="n")[1]
        assert "same thing" in client.refused("device_add", **nic, network="user", id="n")[1]
        client.value("device_add", **nic, id="n")
        assert "its NIC already" in client.refused("device_add", **nic, id="m")[1]
        assert "in use by n" in client.refused("netdev_del", id="net")[1]
        for name in ("n", "net", client.value("bimetal-nics")[-1]["mac"]):
            client.value("set_link", name=name, up=False)
            assert not client.value("bimetal-nics")[-1]["link"]
            client.value("set_link", name=name, up=True)
            assert client.value("bimetal-nics")[-1]["link"]
        assert client.refused("set_link", name="x", up=True)[0] == "DeviceNotFound"
        client.value("device_del", id="n", force=True)
        client.event("DEVICE_DELETED")
        client.value("netdev_del", id="net")
        assert client.refused("netdev_del", id="net")[0] == "DeviceNotFound"
        assert client.refused("netdev_add", type="tap", id="t")[0] == "GenericError"
        sly = [{"str": "tcp::1-:1,capture=/tmp/x"}]
        assert "no comma" in client.refused("netdev_add", type="user", id="s", hostfwd=sly)[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"driver": "file", "filename": "/missing"}, "cannot be opened"),
        ({"driver": "raw", "file": "nothing"}, "no node 'nothing'"),
        ({"driver": "raw", "file": {"driver": "nbd", "host": "x"}}, "is no file"),
        ({"driver": "raw", "file": {"driver": "file"}}, "is no file"),
        ({"driver": "raw", "filename": "/x"}, "belongs to its file"),
        ({"driver": "nvme"}, "Invalid enum value"),
        ({"driver": "file", "filename": "a\0b"}, "a NUL character"),
    ],
)
def test_images_that_cannot_be_told_of(talker: Talker, arguments: dict[str, Any], why: str) -> None:
    assert why in talker.refused("blockdev-add", node_name="n", **arguments)[1]


def test_a_machine_is_saved_to_a_file(monitored: Made, place: Path, tmp_path: Path) -> None:
    monitored()
    with Talker(place) as client:
        assert "folder" in client.refused("bimetal-save", filename="/missing/folder/x")[1]
        client.value("bimetal-save", filename=str(tmp_path / "saved"))
        assert (tmp_path / "saved").stat().st_size
        client.value("bimetal-save", filename=str(tmp_path / "saved"), stop=True)
        assert client.event("SHUTDOWN")


def test_commands_from_python(monitored: Made, image: Path) -> None:
    monitor = monitored(prepare=with_drives(image))
    assert monitor.execute("query-status") == {"running": True, "status": "running"}
    monitor.execute("blockdev-add", driver="file", node_name="n", filename=str(image))
    assert monitor.vm.nodes["n"].path == str(image)
    with pytest.raises(BimetalError, match=r"did you mean .*query-status"):
        monitor.execute("query-state")


def typed(client: Talker, line: str) -> str:
    answer: str = client.value("human-monitor-command", command_line=line)
    return answer


def test_what_people_type(monitored: Made, place: Path, image: Path) -> None:
    monitored(name="crab", prepare=with_drives(image))
    with Talker(place) as client:
        assert typed(client, "info status") == "VM status: running\n"
        assert typed(client, "stop") == ""
        assert client.event("STOP")
        assert typed(client, "info status") == "VM status: paused (paused)\n"
        assert typed(client, "c") == ""
        assert typed(client, "info name") == "crab\n"
        assert "disk0: " in typed(client, "info block")
        assert "cd0: [not inserted]" in typed(client, "info block")
        assert typed(client, f"change cd0 '{image}'") == ""
        assert str(image) in typed(client, "info block")
        assert typed(client, "info cpus").startswith("* CPU #0: thread_id=")
        assert "ram" in typed(client, "info mtree")
        assert "savevm" in typed(client, "help")
        assert "info status" in typed(client, "info")
        assert typed(client, "") == ""
        assert typed(client, "savevm one").startswith("Error: ")
        assert typed(client, "frobnicate").startswith("Error: unknown command: 'frobnicate'")
        assert typed(client, "info sttus").startswith("Error: unknown command: 'info sttus'")
        assert typed(client, "savevm").startswith("Error: savevm takes NAME")
        assert typed(client, "stop now").startswith("Error: stop takes nothing")
        assert typed(client, "change cd0 'x").startswith("Error: ")
        assert typed(client, "quit") == ""
        assert client.event("SHUTDOWN")["data"]["reason"] == "host-qmp-quit"


def test_states_inside_of_disks(monitored: Made, place: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    monitored(prepare=lambda machine: machine.disk(disk))
    with Talker(place) as client:
        assert "no snapshot" in typed(client, "info snapshots")
        assert typed(client, "savevm first") == ""
        assert typed(client, "info snapshots") == "first\n"
        assert typed(client, "loadvm first") == ""
        assert "Error" in typed(client, "loadvm second")
        assert typed(client, "delvm first") == ""
        assert "no snapshot" in typed(client, "info snapshots")


def test_cpus_are_told_of_when_all_have_their_threads(monitored: Made, place: Path) -> None:
    """libvirt gives a machine up of which some CPUs have threads, and others not yet."""
    monitor = monitored(start=False)
    monitor.vm.begun.clear()
    with Talker(place) as client:
        client.send('{"execute": "query-cpus-fast"}')
        monitor.vm.machine.start()
        monitor.vm.begun.set()
        assert all(cpu["thread-id"] for cpu in client.answer()["return"])


def test_states_inside_of_disks_by_jobs(monitored: Made, place: Path, tmp_path: Path) -> None:
    """As libvirt asks for them since its 10.9."""
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    monitored(prepare=lambda machine: machine.disk(disk))
    with Talker(place) as client:
        file = {"driver": "file", "filename": str(disk)}
        client.value("blockdev-add", driver="qcow2", node_name="d", file=file)
        where = {"tag": "first", "devices": ["d"]}

        def job(what: str, **more: object) -> str | None:
            client.value(f"snapshot-{what}", job_id="j", **where, **more)
            while client.event("JOB_STATUS_CHANGE")["data"] != {"id": "j", "status": "concluded"}:
                pass
            (told,) = client.value("query-jobs")
            client.value("job-dismiss", id="j")
            assert told["type"] == f"snapshot-{what}"
            error: str | None = told.get("error")
            return error

        assert job("save", vmstate="d") is None
        (node,) = client.value("query-named-block-nodes")
        (kept,) = node["image"]["snapshots"]
        assert (kept["name"], kept["vm-state-size"] > 0) == ("first", True)
        assert "already" in client.refused("snapshot-save", job_id="j", vmstate="d", **where)[1]
        assert "not one of" in client.refused("snapshot-load", job_id="j", vmstate="e", **where)[1]
        assert job("load", vmstate="d") is None
        assert job("delete") is None
        assert "no snapshot 'first'" in (job("load", vmstate="d") or "")


def test_two_states_of_one_name_at_once(
    monitored: Made, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, work = threading.Barrier(2), Keeping.work

    def together(job: Keeping) -> None:
        both.wait(60)
        work(job)

    monkeypatch.setattr(Keeping, "work", together)
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    monitored(prepare=lambda machine: machine.disk(disk))
    with Talker(place) as client:
        file = {"driver": "file", "filename": str(disk)}
        client.value("blockdev-add", driver="qcow2", node_name="d", file=file)
        for job in ("one", "two"):
            client.value("snapshot-save", job_id=job, tag="t", vmstate="d", devices=["d"])
        concluded = set[str]()
        while len(concluded) < 2:
            told = client.event("JOB_STATUS_CHANGE")["data"]
            concluded |= {told["id"]} if told["status"] == "concluded" else set()
        errors = [each.get("error") for each in client.value("query-jobs")]
        assert None in errors
        assert "there is a state 't' already" in "".join(filter(None, errors))
        (node,) = client.value("query-named-block-nodes")
        assert [each["name"] for each in node["image"]["snapshots"]] == ["t"]
        told = client.refused("bimetal-snapshot-save", name="t", replace=False)
        assert "there is a state 't' already" in told[1]
        client.value("bimetal-snapshot-save", name="t")
