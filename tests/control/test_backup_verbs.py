"""virsh's words for checkpoints and backups, of machines in processes of their own, which are
confined. qemu-img and libnbd's programs judge what they make."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.control import Machines
from bimetal.control.verbs import backups
from tests.backends.block.qcow2 import qemu
from tests.backends.block.qcow2.test_bitmaps import flags
from tests.control.homes import Homes
from tests.host import programs

pytestmark = programs("qemu-img", "qemu-io", "nbdcopy", "nbdinfo")

SIZE = 8 << 20
PUSH = """<domainbackup>{since}<disks><disk name='vda' type='file'><target file='{path}'/>
<driver type='qcow2'/></disk></disks></domainbackup>"""
PULL = """<domainbackup mode='pull'>{since}<server transport='unix' socket='{socket}'/><disks>
<disk name='vda' type='file' exportname='root'><scratch file='{path}'/></disk></disks>
</domainbackup>"""
MOMENT = "<domaincheckpoint><name>{name}</name></domaincheckpoint>"
SINCE = "<incremental>{name}</incremental>"


@pytest.fixture
def disk(homes: Homes, tmp_path: Path) -> Path:
    """The disk ``vda`` of the machine ``crab``, which runs."""
    path = tmp_path / "disk.qcow2"
    qemu.img("create", "-q", "-f", "qcow2", path, str(SIZE))
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 300k", str(path)]
    subprocess.run(write, check=True, capture_output=True)
    devices = (
        f"<disk type='file'><driver type='qcow2'/><source file='{path}'/><target dev='vda'/></disk>"
    )
    homes.machines.define(homes.text("crab", devices=devices))
    homes.machines.start("crab")
    return path


def document(folder: Path, text: str) -> str:
    path = folder / f"{len([*folder.glob('*.xml')])}.xml"
    path.write_text(text)
    return str(path)


def over(homes: Homes) -> None:
    """Wait for the end of a backup that is pushed."""
    with homes.machines.conversation("crab") as talk:
        while any(job["status"] != "concluded" for job in talk.ask("query-block-jobs")):
            next(talk.events(60))
    assert homes.say("domjobinfo", "crab").split() == ["Job", "type:", "None"]
    assert homes.machines.ask("crab", "query-jobs") == []


def rebased(path: Path, below: Path) -> None:
    qemu.img("rebase", "-u", "-f", "qcow2", "-b", below, "-F", "qcow2", path)


def test_checkpoints(homes: Homes, disk: Path, tmp_path: Path) -> None:
    said = homes.say("checkpoint-create-as", "crab", "c0", "the first").strip()
    assert said == "Domain checkpoint c0 created"
    for name in ("c1", "c2"):
        homes.say("checkpoint-create-as", "crab", name, "--diskspec", "vda,checkpoint=bitmap")
    listed = homes.say("checkpoint-list", "crab", "--parent").splitlines()
    assert listed[0].split() == ["Name", "Creation", "Time", "Parent"]
    assert [line.split()[0] for line in listed[2:] if line] == ["c0", "c1", "c2"]
    assert [line.split()[-1] for line in listed[3:] if line] == ["c0", "c1"]
    tree = homes.say("checkpoint-list", "crab", "--tree").rstrip("\n").split("\n")
    assert tree == ["c0", "  |", "  +- c1", "    |", "    +- c2"]
    assert homes.say("checkpoint-list", "crab", "--roots", "--name").split() == ["c0"]
    assert homes.say("checkpoint-parent", "crab", "c2").strip() == "c1"
    facts = homes.say("checkpoint-info", "crab", "c0").split("\n")
    assert facts[:5] == [
        *("Name:           c0", "Domain:         crab", "Parent:         -"),
        *("Children:       1", "Descendants:    2"),
    ]
    told = homes.say("checkpoint-dumpxml", "crab", "c1")
    assert "<parent>\n    <name>c0</name>" in told
    assert '<disk name="vda" checkpoint="bitmap" bitmap="c1"/>' in told
    assert homes.quick("checkpoint-create-as", "crab", "c1").err.count("c1 already exists")
    assert "has no parent" in homes.quick("checkpoint-parent", "crab", "c0").err
    homes.say("checkpoint-delete", "crab", "c1")
    assert homes.say("checkpoint-parent", "crab", "c2").strip() == "c0"
    homes.machines.destroy("crab")
    assert flags(disk) == {"c0": ["auto"], "c2": ["auto"]}
    assert "is not running" in homes.quick("checkpoint-delete", "crab", "c2").err
    assert "with 2 checkpoints" in homes.quick("undefine", "crab").err
    homes.say("domrename", "crab", "whale")
    assert homes.say("checkpoint-list", "whale", "--name").split() == ["c0", "c2"]
    homes.say("domrename", "whale", "crab")
    homes.machines.start("crab")
    homes.say("checkpoint-delete", "crab", "c0", "--children")
    assert homes.say("checkpoint-list", "crab", "--name").split() == []
    homes.machines.destroy("crab")
    assert "bitmaps" not in qemu.img("info", "-f", "qcow2", disk)
    homes.say("undefine", "crab")


def test_a_checkpoint_that_is_refused_is_not_kept(homes: Homes, disk: Path) -> None:
    homes.machines.ask(
        "crab", "block-dirty-bitmap-add", node="disk0", name="taken", granularity=512
    )
    assert "already" in homes.quick("checkpoint-create-as", "crab", "taken").err
    assert homes.say("checkpoint-list", "crab", "--name").split() == []
    wrong = homes.quick("checkpoint-create-as", "crab", "x", "--diskspec", "vdz")
    assert "no disk named 'vdz'" in wrong.err


def test_backups_that_are_pushed(homes: Homes, disk: Path, tmp_path: Path) -> None:
    full, more = tmp_path / "full.qcow2", tmp_path / "more.qcow2"
    order = document(tmp_path, PUSH.format(since="", path=full))
    moment = document(tmp_path, MOMENT.format(name="c0"))
    assert homes.say("backup-begin", "crab", order, moment).strip() == "Backup started"
    over(homes)
    assert homes.say("domjobinfo", "crab").split() == ["Job", "type:", "None"]
    since = SINCE.format(name="c0")
    order = document(tmp_path, PUSH.format(since=since, path=more))
    homes.say("backup-begin", "crab", order, document(tmp_path, MOMENT.format(name="c1")))
    over(homes)
    homes.say("backup-begin", "crab")  # of all disks, beside them
    over(homes)
    beside = next(path for path in tmp_path.iterdir() if path.name.startswith("disk.qcow2."))
    assert "is there already" in homes.quick("backup-begin", "crab", order).err
    homes.machines.destroy("crab")
    qemu.img("compare", "-f", "qcow2", "-F", "qcow2", full, disk)
    qemu.img("compare", "-f", "qcow2", "-F", "qcow2", beside, disk)
    assert images.information(str(more)).backing_path == str(disk)
    rebased(more, full)
    qemu.img("compare", "-f", "qcow2", "-F", "qcow2", more, disk)
    assert flags(disk) == {"c0": ["auto"], "c1": ["auto"]}
    assert qemu.check(disk) == qemu.CLEAN


def test_backups_that_are_fetched(homes: Homes, disk: Path, tmp_path: Path) -> None:
    homes.say("checkpoint-create-as", "crab", "c0")
    socket, scratch = homes.places.run("crab") / "nbd", tmp_path / "scratch"
    since = SINCE.format(name="c0")
    order = document(tmp_path, PULL.format(since=since, socket=socket, path=scratch))
    homes.say("backup-begin", "crab", order)
    told = homes.say("domjobinfo", "crab")
    assert "Job type:         Unbounded" in told
    assert "Operation:        Backup" in told
    assert f"File total:       {SIZE >> 20}.000 MiB" in told
    dumped = homes.say("backup-dumpxml", "crab")
    assert '<domainbackup mode="pull">' in dumped
    assert 'exportname="root" exportbitmap="backup-vda"' in dumped
    assert "a backup is under way" in homes.quick("backup-begin", "crab", order).err
    uri = f"nbd+unix:///root?socket={socket}"
    subprocess.run(["nbdcopy", uri, copy := tmp_path / "copy"], check=True, timeout=60)
    changed = ["nbdinfo", "--map=qemu:dirty-bitmap:backup-vda", "--totals", uri]
    done = subprocess.run(changed, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.split()[0] == str(SIZE)
    assert "clean" in done.stdout
    homes.say("domjobabort", "crab")
    assert not scratch.exists()
    assert homes.say("domjobinfo", "crab").split() == ["Job", "type:", "None"]
    assert "no job is active" in homes.quick("domjobabort", "crab").err
    assert "no domain backup job" in homes.quick("backup-dumpxml", "crab").err
    homes.say("backup-begin", "crab", order)
    homes.machines.destroy("crab")
    homes.machines.start("crab")
    assert "no job is active" in homes.quick("domjobabort", "crab").err
    assert scratch.exists()  # nobody knows whose it is by now
    homes.say("backup-begin", "crab", order, "--reuse-external")
    homes.say("domjobabort", "crab")
    assert scratch.exists()
    homes.machines.destroy("crab")
    qemu.img("compare", "-f", "raw", "-F", "qcow2", copy, disk)
    assert qemu.check(disk) == qemu.CLEAN


def test_a_server_that_somebody_else_has_begun_goes_on(
    homes: Homes, disk: Path, tmp_path: Path
) -> None:
    socket, scratch = homes.places.run("crab") / "nbd", tmp_path / "scratch"
    address = {"type": "unix", "data": {"path": str(socket)}}
    homes.machines.ask("crab", "nbd-server-start", addr=address)
    homes.machines.ask("crab", "nbd-server-add", device="disk0", name="mine")
    order = document(tmp_path, PULL.format(since="", socket=f"{socket}2", path=scratch))
    assert "a server already" in homes.quick("backup-begin", "crab", order).err
    assert not scratch.exists()
    uri = f"nbd+unix:///mine?socket={socket}"
    subprocess.run(["nbdinfo", uri], check=True, timeout=60, capture_output=True)
    assert "no job is active" in homes.quick("domjobabort", "crab").err


def test_a_backup_that_was_fetched_and_has_failed_is_ended_before_another(
    homes: Homes, disk: Path, tmp_path: Path
) -> None:
    scratch, full = tmp_path / "scratch", tmp_path / "full.qcow2"
    socket = homes.places.run("crab") / "nbd"
    order = document(tmp_path, PULL.format(since="", socket=socket, path=scratch))
    homes.say("backup-begin", "crab", order)
    with homes.machines.conversation("crab") as talk:
        (job,) = talk.ask("query-block-jobs")
        talk.ask("block-job-cancel", device=job["device"], force=True)
        talk.wait_for("JOB_STATUS_CHANGE", 60.0, id=job["device"], status="null")
    order = document(tmp_path, PUSH.format(since="", path=full))
    assert "a backup is under way" in homes.quick("backup-begin", "crab", order).err
    homes.say("domjobabort", "crab")
    assert not scratch.exists()
    assert not socket.exists()
    homes.say("backup-begin", "crab", order)
    over(homes)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups that are pushed take minutes."""
    ask = Machines.ask

    def asked(machines: Machines, called: str, command: str, **arguments: Any) -> Any:
        for action in arguments.get("actions", ()):
            if action["type"] == "drive-backup":
                action["data"]["speed"] = 1024
        return ask(machines, called, command, **arguments)

    monkeypatch.setattr(Machines, "ask", asked)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("reuse", [False, True])
def test_what_is_left_of_a_backup_that_is_given_up(
    homes: Homes, disk: Path, tmp_path: Path, reuse: bool
) -> None:
    """What was made for it is gone, as with libvirt; what was there before stays."""
    full = tmp_path / "full.qcow2"
    order, words = document(tmp_path, PUSH.format(since="", path=full)), ["--reuse-external"]
    if reuse:
        qemu.img("create", "-q", "-f", "qcow2", full, str(SIZE))
    homes.say("backup-begin", "crab", order, *(words if reuse else ()))
    assert "Job type:         Unbounded" in homes.say("domjobinfo", "crab")
    assert full.exists()
    homes.say("domjobabort", "crab")
    assert full.exists() == reuse
    assert homes.machines.ask("crab", "query-jobs") == []
    assert homes.say("domjobinfo", "crab").split() == ["Job", "type:", "None"]
    assert "no job is active" in homes.quick("domjobabort", "crab").err


@pytest.mark.usefixtures("slow")
def test_nothing_is_left_of_a_backup_that_has_failed(
    homes: Homes, disk: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full.qcow2"
    order = document(tmp_path, PUSH.format(since="", path=full))
    homes.say("backup-begin", "crab", order)
    with homes.machines.conversation("crab") as talk:
        (job,) = talk.ask("query-block-jobs")
        talk.ask("block-job-cancel", device=job["device"], force=True)
        talk.wait_for("JOB_STATUS_CHANGE", 60.0, id=job["device"], status="concluded")
    for _ in range(2):
        told = homes.say("domjobinfo", "crab")
        assert told.split()[:3] == ["Job", "type:", "None"]
        assert "Error message:    Operation canceled" in told
        assert not full.exists()
    assert homes.machines.ask("crab", "query-jobs") == []
    homes.say("backup-begin", "crab", order)
    homes.say("domjobabort", "crab")


@pytest.mark.usefixtures("slow")
def test_nothing_is_left_of_a_backup_of_which_nothing_can_be_noted(
    homes: Homes, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's disk has no room for that by now: nobody would end its jobs, nor know of them."""

    def full(path: Path, text: str) -> None:
        raise BimetalError(f"{path} cannot be written: No space left on device", "")

    made = tmp_path / "full.qcow2"
    order = document(tmp_path, PUSH.format(since="", path=made))
    with monkeypatch.context() as there:
        there.setattr(backups, "write_whole", full)
        assert "No space left" in homes.quick("backup-begin", "crab", order).err
    assert homes.machines.ask("crab", "query-jobs") == []
    assert not made.exists()
    homes.say("backup-begin", "crab", order)
    homes.say("domjobabort", "crab")


KILLED = """
import os, signal, sys
from bimetal.cli import main
from bimetal.control import Machines
ask = Machines.ask
def killed(machines, name, command, **arguments):
    if command == "transaction":
        if {after}:
            ask(machines, name, command, **arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(machines, name, command, **arguments)
Machines.ask = killed
main(sys.argv[1:])
"""


@pytest.mark.parametrize("after", [False, True])
def test_a_client_that_is_killed_while_it_begins_a_backup(
    homes: Homes, disk: Path, tmp_path: Path, after: bool
) -> None:
    full = tmp_path / "full.qcow2"
    order = document(tmp_path, PUSH.format(since="", path=full))
    words = [sys.executable, "-c", KILLED.format(after=after), "backup-begin", "crab", order]
    assert subprocess.run(words, env=homes.environment, check=False).returncode == -signal.SIGKILL
    if after:  # it is known, and goes on without the client
        over(homes)
        qemu.img("compare", "-U", "-f", "qcow2", "-F", "qcow2", full, disk)
    else:
        told = homes.say("domjobinfo", "crab")
        assert "Error message:    the client that was beginning it has ended" in told
        assert not full.exists()
    assert homes.machines.ask("crab", "query-jobs") == []
    full.unlink(missing_ok=True)
    homes.say("backup-begin", "crab", order)
    over(homes)


def test_a_job_of_somebody_else_is_none_of_ours_whatever_it_is_called(
    homes: Homes, disk: Path, tmp_path: Path
) -> None:
    mine, full = tmp_path / "mine.qcow2", tmp_path / "full.qcow2"
    qemu.img("create", "-q", "-f", "qcow2", mine, str(SIZE))
    homes.machines.hand_in("crab", str(mine), readonly=False, format="qcow2", alone=True)
    job = {"job-id": "backup-vda", "device": "disk0", "target": str(mine), "mode": "existing",
           "speed": 1024, "format": "qcow2", "sync": "full"}  # fmt: skip
    homes.machines.ask("crab", "transaction", actions=[{"type": "drive-backup", "data": job}])
    assert homes.say("domjobinfo", "crab").split() == ["Job", "type:", "None"]
    assert "no job is active" in homes.quick("domjobabort", "crab").err
    assert "no domain backup job" in homes.quick("backup-dumpxml", "crab").err
    order = document(tmp_path, PUSH.format(since="", path=full))
    assert "the job 'backup-vda' is at work on" in homes.quick("backup-begin", "crab", order).err
    assert not full.exists()
    (there,) = homes.machines.ask("crab", "query-block-jobs")
    assert (there["device"], there["status"]) == ("backup-vda", "running")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PULL.format(since="", socket="/nowhere/nbd", path="{scratch}"), "cannot listen"),
        (PUSH.format(since=SINCE.format(name="c9"), path="{scratch}"), "no dirty bitmap 'c9'"),
        (PUSH.format(since="", path="{scratch}").replace("vda", "vdz"), "no disk named 'vdz'"),
        (PUSH.format(since="", path="/nowhere/x"), "/nowhere/x"),
        ("<domainbackup mode='pull'/>", "needs a <server>"),
        ("<domainbackup><disks/></domainbackup>", "no disk is selected"),
        ("<domainbackup><strange/></domainbackup>", "no such element"),
        ("<domaincheckpoint/>", "whose root is"),
    ],
)
def test_backups_that_cannot_be(
    homes: Homes, disk: Path, tmp_path: Path, text: str, why: str
) -> None:
    scratch = tmp_path / "scratch"
    order = document(tmp_path, text.format(scratch=scratch))
    moment = document(tmp_path, MOMENT.format(name="c0"))
    failed = homes.quick("backup-begin", "crab", order, moment)
    assert (failed.code, why in failed.err) == (1, True), failed.err
    assert not scratch.exists()
    assert homes.say("checkpoint-list", "crab", "--name").split() == []
    assert homes.machines.ask("crab", "query-block-jobs") == []
    assert homes.machines.ask("crab", "query-block-exports") == []
    homes.say("backup-begin", "crab", document(tmp_path, PUSH.format(since="", path=scratch)))
    over(homes)
