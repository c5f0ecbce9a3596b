"""Backups that clients of QMP fetch, in the words in which libvirt 9.0 asks QEMU 7.2 for them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bimetal.control import Monitor
from tests.backends.block.qcow2 import qemu
from tests.control.talker import Talker
from tests.control.test_bitmap_commands import GRANULE, NODE, action, client, monitor, writes
from tests.control.test_live_disks import create, until
from tests.host import programs

__all__ = ["client", "monitor"]

pytestmark = [qemu.needs_qemu, programs("nbdinfo", "nbdcopy")]


def start(client: Talker, socket: Path) -> None:
    client.value("nbd-server-start", addr={"type": "unix", "data": {"path": str(socket)}})


def test_a_backup_that_is_fetched(client: Talker, monitor: Monitor, tmp_path: Path) -> None:
    socket, copy = tmp_path / "nbd", tmp_path / "copy"
    client.value("block-dirty-bitmap-add", **NODE, name="c0", persistent=True)
    writes(monitor, 0, 1 << 20)
    below = {"backing-file": str(tmp_path / "0.qcow2"), "backing-fmt": "qcow2"}
    create(client, tmp_path / "1.qcow2", 1, **below)
    start(client, socket)
    backup = {"device": "f0", "job-id": "backup-vda", "target": "f1", "sync": "none"}
    scratch = {"node": "f1", "name": "backup-vda"}
    actions: list[dict[str, Any]] = [
        {
            "type": "block-dirty-bitmap-add",
            "data": {**scratch, "persistent": False, "disabled": True, "granularity": GRANULE},
        },
        {
            "type": "block-dirty-bitmap-merge",
            "data": {
                "node": "f1",
                "target": "backup-vda",
                "bitmaps": [{"node": "f0", "name": "c0"}],
            },
        },
        action("add", name="c1", persistent=True, disabled=False),
        {"type": "blockdev-backup", "data": {**backup, "auto-dismiss": False}},
    ]
    client.value("transaction", actions=actions)
    client.value(
        "block-export-add",
        type="nbd",
        id="libvirt-nbd-vda",
        node_name="f1",
        writable=False,
        name="vda",
        bitmaps=["backup-vda"],
    )
    assert client.value("query-block-exports") == [
        {"id": "libvirt-nbd-vda", "type": "nbd", "node-name": "f1", "shutting-down": False}
    ]
    writes(monitor, 0, 4 << 20)
    assert "in use by" in client.refused("blockdev-del", node_name="f1")[1]
    uri = f"nbd+unix:///vda?socket={socket}"
    subprocess.run(["nbdcopy", uri, copy], check=True, timeout=60)
    data = copy.read_bytes()
    assert data[:512] == data[1 << 20 : (1 << 20) + 512] == b"x" * 512
    assert data.count(b"x") == 1024
    told = subprocess.run(
        ["nbdinfo", "--map=qemu:dirty-bitmap:backup-vda", "--totals", uri],
        check=True, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert any(line.split()[0] == str(2 * GRANULE) for line in told.stdout.splitlines())
    client.value("nbd-server-stop")
    assert {"id": "libvirt-nbd-vda"} in [
        each["data"] for each in client.events if each["event"] == "BLOCK_EXPORT_DELETED"
    ]
    client.value("job-cancel", id="backup-vda")
    until(client, "concluded")
    client.value("job-dismiss", id="backup-vda")
    client.value("blockdev-del", node_name="f1")
    assert client.value("query-block-exports") == []


def test_exports_as_they_were_called_before(client: Talker, tmp_path: Path) -> None:
    start(client, tmp_path / "nbd")
    client.value("block-dirty-bitmap-add", **NODE, name="b", disabled=True)
    client.value("nbd-server-add", device="d", bitmap="b")
    client.value("nbd-server-add", device="f0", name="same")
    listed = subprocess.run(
        ["nbdinfo", "--list", "--json", f"nbd+unix:///?socket={tmp_path / 'nbd'}"],
        check=True, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert listed.stdout.count('"export-name"') == 2
    assert '"qemu:dirty-bitmap:b"' in listed.stdout
    client.value("nbd-server-remove", name="d")
    client.value("block-export-del", id="same", mode="hard")
    assert client.value("query-block-exports") == []
    assert "no export 'd'" in client.refused("nbd-server-remove", name="d")[1]


@pytest.mark.parametrize(
    ("command", "words", "why"),
    [
        ("nbd-server-start", {"addr": {"type": "fd", "data": {"str": "x"}}}, "write an address"),
        ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": ""}}}, "write an address"),
        (
            "nbd-server-start",
            {"addr": {"type": "inet", "data": {"host": "::1", "port": "0"}}, "tls_creds": "t"},
            "not encrypted",
        ),
        (
            "nbd-server-start",
            {"addr": {"type": "inet", "data": {"host": "::1", "port": "0"}}, "max_connections": -1},
            "write 1 to 32",
        ),
        ("nbd-server-stop", {}, "no server"),
        ("nbd-server-add", {"device": "d", "writable": True}, "to be read"),
        ("nbd-server-add", {"device": "d"}, "no server"),
        ("block-export-add", {"type": "nbd", "id": "e", "node_name": "f9"}, "no node 'f9'"),
        (
            "block-export-add",
            {"type": "nbd", "id": "e", "node_name": "f0", "writable": True},
            "to be read",
        ),
        ("block-export-del", {"id": "e"}, "no export 'e'"),
    ],
)
def test_what_cannot_be(client: Talker, command: str, words: dict[str, Any], why: str) -> None:
    assert why in client.refused(command, **words)[1]
