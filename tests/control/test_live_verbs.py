"""virsh's words for disks, of machines that run: their definitions follow their disks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.control.conversation import Conversation
from tests.control.homes import Homes

SIZE = 8 << 20


@pytest.fixture
def crab(homes: Homes, tmp_path: Path) -> Path:
    """The folder with the disks ``a.qcow2`` (vda) and ``b.img`` (vdb) of a machine that runs."""
    folder = tmp_path / "disks"
    folder.mkdir()
    images.create(str(folder / "a.qcow2"), SIZE, format="qcow2")
    images.create(str(folder / "b.img"), SIZE, format="raw")
    devices = "".join(
        f"<disk type='file'><driver type='{kind}'/><source file='{folder / name}'/>"
        f"<target dev='{target}'/></disk>"
        for name, kind, target in (("a.qcow2", "qcow2", "vda"), ("b.img", "raw", "vdb"))
    )
    homes.machines.define(homes.text("crab", devices=devices))
    homes.machines.start("crab")
    return folder


def say(homes: Homes, *words: str) -> str:
    """What a command prints, which has to succeed."""
    return homes.say(*words).strip()


def defined(homes: Homes, *, inactive: bool = True) -> list[str]:
    definition = homes.machines.definition("crab", inactive=inactive)
    return [Path(disk.path).name for disk in definition.disks]


def restarted(homes: Homes, *, kill: bool = False) -> None:
    """End the machine, somehow, and start it by its definition."""
    if kill:
        os.kill(homes.places.pid("crab"), signal.SIGKILL)
        assert homes.machines.await_end("crab", 20)
    else:
        homes.machines.destroy("crab")
    homes.machines.start("crab")


def test_snapshots_and_commits(homes: Homes, crab: Path) -> None:
    said = say(homes, "snapshot-create-as", "crab", "s1", "--disk-only", "--atomic")
    assert said == "Domain snapshot s1 created"
    assert defined(homes) == defined(homes, inactive=False) == ["a.s1", "b.s1"]
    restarted(homes, kill=True)
    assert str(crab / "a.s1") in say(homes, "domblklist", "crab")
    words = ("--disk-only", "--diskspec", f"vda,file={crab.parent}/elsewhere", "--diskspec",
             "vdb,snapshot=no")  # fmt: skip
    say(homes, "snapshot-create-as", "crab", "s2", *words)
    assert defined(homes) == ["elsewhere", "b.s1"]
    restarted(homes, kill=True)
    asked = homes.quick("blockcommit", "crab", "vda")
    assert (asked.code, "requires active flag" in asked.err) == (1, True)
    said = say(homes, "blockcommit", "crab", "vda", "--active", "--wait", "--base", "vda[1]")
    assert said == "Now in synchronized phase"
    assert say(homes, "blockjob", "crab", "vda") == "Block Commit: [100 %]"
    assert say(homes, "blockjob", "crab", "vda", "--abort") == ""
    assert say(homes, "blockcommit", "crab", "vda", "--pivot") == "Successfully pivoted"
    assert defined(homes) == ["a.qcow2", "b.s1"]
    restarted(homes, kill=True)
    assert str(crab / "a.qcow2") in say(homes, "domblklist", "crab")


def test_between_images_and_from_below(homes: Homes, crab: Path) -> None:
    for name in ("s1", "s2", "s3"):
        say(
            homes,
            "snapshot-create-as",
            "crab",
            name,
            "--disk-only",
            "--diskspec",
            "vdb,snapshot=no",
        )
    said = say(homes, "blockcommit", "crab", "vda", "--top", "vda[1]", "--shallow", "--wait")
    assert said == "Commit complete"
    said = say(homes, "blockpull", "crab", "vda", "--base", str(crab / "a.qcow2"), "--wait")
    assert said == "Pull complete"
    chain = images.chain(str(crab / "a.s3"), shared=True)
    assert [Path(each.path).name for each in chain] == ["a.s3", "a.qcow2"]
    restarted(homes)
    assert say(homes, "blockpull", "crab", "vda", "--wait") == "Pull complete"
    assert len(images.chain(str(crab / "a.s3"), shared=True)) == 1


def test_copies(homes: Homes, crab: Path) -> None:
    copy = crab.parent / "copy.qcow2"
    said = say(homes, "blockcopy", "crab", "vdb", str(copy), "--format", "qcow2", "--finish")
    assert said == "Successfully copied"
    assert "is there already" in homes.quick("blockcopy", "crab", "vdb", str(copy)).err
    words = ("--reuse-external", "--format", "qcow2", "--pivot")
    assert say(homes, "blockcopy", "crab", "vdb", str(copy), *words) == "Successfully pivoted"
    assert defined(homes) == ["a.qcow2", "copy.qcow2"]
    restarted(homes, kill=True)
    other = str(crab / "other.img")
    assert say(homes, "blockcopy", "crab", "vda", other, "--format", "raw").endswith("started")
    assert "Block Copy: [" in say(homes, "blockjob", "crab", "vda", "--info")
    say(homes, "blockjob", "crab", "vda", "--bandwidth", "7")
    say(homes, "blockjob", "crab", "vda", "--abort")
    assert say(homes, "blockjob", "crab", "vda") == "No current block job for vda"
    assert homes.quick("blockjob", "crab", "vda", "--abort").code == 1


def test_a_copy_is_kept_as_long_as_its_job_is_at_work(
    homes: Homes, crab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = crab.parent / "copy.qcow2"

    def lost(*_: object, **more: object) -> bool:
        raise BimetalError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr("bimetal.control.verbs.blocks.end_of", lost)
        asked = homes.quick("blockcopy", "crab", "vda", str(copy), "--pivot")
    assert (asked.code, "the connection is lost" in asked.err) == (1, True)
    assert "Block Copy: [" in say(homes, "blockjob", "crab", "vda")
    say(homes, "blockjob", "crab", "vda", "--pivot")
    assert defined(homes) == ["copy.qcow2", "b.img"]
    assert copy.exists()


def test_new_images_are_gone_only_if_the_machine_has_refused_them(
    homes: Homes, crab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("snapshot-create-as", "crab", "s1", "--disk-only")
    say(homes, "blockcopy", "crab", "vdb", str(crab / "copy.img"))
    assert "is at work on disk1" in homes.quick(*words).err
    assert not list(crab.glob("*.s1"))
    say(homes, "blockjob", "crab", "vdb", "--abort")

    def lost(self: Conversation, command: str, **arguments: object) -> object:
        if command == "transaction":
            raise BimetalError("the connection is lost")
        return ask(self, command, **arguments)

    ask = Conversation.ask
    monkeypatch.setattr(Conversation, "ask", lost)
    assert "the connection is lost" in homes.quick(*words).err
    assert sorted(each.name for each in crab.glob("*.s1")) == ["a.s1", "b.s1"]


def test_sizes_and_figures(homes: Homes, crab: Path) -> None:
    assert "is resized" in say(homes, "blockresize", "crab", "vda", "16M")
    assert say(homes, "domblkinfo", "crab", "vda").splitlines()[0] == "Capacity:       16777216"
    assert "vdb wr_bytes 0" in say(homes, "domblkstat", "crab", "vdb")
    homes.machines.destroy("crab")
    assert say(homes, "domblkinfo", "crab", "vdb").splitlines()[0] == f"Capacity:       {SIZE}"
    assert homes.quick("domblkstat", "crab", "vdb").code == 1


def test_links_and_addresses(homes: Homes, crab: Path) -> None:
    """A NIC of which the definition says no address keeps it when the disk moves."""
    homes.machines.destroy("crab")
    text = homes.machines.xml("crab", inactive=True)
    homes.machines.define(text.replace("</devices>", "<interface type='user'/></devices>"))
    homes.machines.start("crab")
    mac = say(homes, "domiflist", "crab").splitlines()[-1].split()[-1]
    say(homes, "snapshot-create-as", "crab", "s1", "--disk-only")
    for name in ("nic0", mac):
        say(homes, "domif-setlink", "crab", name, "down")
        assert say(homes, "domif-getlink", "crab", name) == f"{name} down"
        say(homes, "domif-setlink", "crab", name, "up")
        assert say(homes, "domif-getlink", "crab", name) == f"{name} up"
    assert homes.quick("domif-getlink", "crab", "nic7").code == 1
    assert homes.quick("domif-setlink", "crab", "nic7", "up").code == 1
    restarted(homes)
    assert say(homes, "domiflist", "crab").splitlines()[-1].split()[-1] == mac


def test_what_is_refused_and_leaves_nothing(homes: Homes, crab: Path) -> None:
    refused = [
        (("--quiesce",), "guest agent is not configured"),
        (("--diskspec", "vdx,snapshot=external"), "no disk named 'vdx'"),
        (("--diskspec", "vda,colour=red"), "unknown word 'colour=red'"),
        (("--diskspec", "vda,snapshot=no", "--diskspec", "vdb,snapshot=no"), "no disk is selected"),
        (("--diskspec", f"vdb,file={crab}/a.qcow2"), "already exists"),
        (("--diskspec", "vdb,file=/nowhere/b"), "/nowhere"),
    ]
    before = sorted(each.name for each in crab.iterdir())
    for words, why in refused:
        outcome = homes.quick("snapshot-create-as", "crab", "s", "--disk-only", *words)
        assert (outcome.code, why in outcome.err) == (1, True), outcome.err
        assert sorted(each.name for each in crab.iterdir()) == before
    assert defined(homes) == ["a.qcow2", "b.img"]
    assert "lies on no other image" in homes.quick("blockcommit", "crab", "vda", "--pivot").err


def test_of_a_machine_that_is_off(homes: Homes, crab: Path) -> None:
    homes.machines.destroy("crab")
    say(homes, "snapshot-create-as", "crab", "s1", "--disk-only")
    assert defined(homes) == ["a.s1", "b.s1"]
    homes.machines.start("crab")
    assert str(crab / "b.s1") in say(homes, "domblklist", "crab")


def test_what_is_defined_anew_holds(homes: Homes, crab: Path) -> None:
    """A definition that is written after the machine has ended says where its disks are."""
    text = homes.machines.xml("crab", inactive=True)
    say(homes, "snapshot-create-as", "crab", "s1", "--disk-only")
    homes.machines.destroy("crab")
    assert defined(homes) == ["a.s1", "b.s1"]
    homes.machines.define(text)
    assert defined(homes) == ["a.qcow2", "b.img"]
    (homes.places.moves("crab")).write_text("{damaged")
    assert defined(homes) == ["a.qcow2", "b.img"]
