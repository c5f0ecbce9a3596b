"""Pools and volumes, beside those of virsh's test driver."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bimetal import images
from tests.control.homes import Homes
from tests.host import programs

CONVERSATION = """
pool-define-as new dir --target {folder}
pool-list --all
pool-info new
pool-build new
pool-start new
pool-start new
pool-autostart new
pool-autostart new --disable
pool-refresh new
vol-create-as new v1 1G --format qcow2
vol-create-as --pool new --name v0 --capacity 1M
vol-list new
vol-list new --details
vol-info v1 new
vol-info v1 new --bytes
vol-info --vol v1 --pool new
vol-path v1 new
vol-key v1 new
vol-name {folder}/v1
vol-pool {folder}/v1
vol-clone v1 v2 new
vol-delete v1 new
vol-delete v9
pool-destroy new
vol-list new
pool-undefine new
pool-info nope
pool-create-as tr dir --target {folder}
pool-destroy tr
pool-undefine tr
pool-info
frobnicate
"""
"""What a script may say."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def folder(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(homes.folder / "d"))
    return homes.folder / "images"


def same(text: str) -> str:
    """What of an answer does not depend on the host."""
    lines = [
        re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", line)
        for line in text.splitlines()
    ]
    lines = [line for line in lines if not re.match(r" ?default| *-+$", line)]
    lines = [re.sub(r"[0-9.]+( bytes| B| [KMGT]iB|$)", "N", line) for line in lines]
    return "\n".join(" ".join(line.split()) for line in lines if line.strip())


@programs("virsh")
def test_a_conversation_as_with_virsh(homes: Homes, folder: Path) -> None:
    lines = CONVERSATION.format(folder=folder).strip().splitlines()
    done = subprocess.run(
        ["virsh", "-c", "test:///default"], input="\n".join([*lines, "quit"]), timeout=60,
        capture_output=True, text=True, check=True, errors="replace",
    )  # fmt: skip
    theirs = re.split(r"^virsh # ", done.stdout, flags=re.MULTILINE)[1:]
    told = [line for line in done.stderr.splitlines() if line.strip()]
    for line, answer in zip(lines, theirs, strict=False):
        outcome = homes.quick(*line.split())
        if outcome.code == 0:
            assert same(outcome.out) == same(answer.partition("\n")[2]), line
        else:
            assert outcome.err.splitlines()[0] in told, line


def test_the_usual_pool_is_that_of_new_machines(homes: Homes, folder: Path) -> None:
    assert homes.say("-q", "pool-list", "--name") == "default\n"
    assert homes.say("-q", "vol-create-as", "default", "x.qcow2", "20G", "--format", "qcow2") == ""
    path = homes.say("-q", "vol-path", "x.qcow2", "--pool", "default").strip()
    assert path == str(homes.folder / "d/bimetal/images/x.qcow2")
    row = homes.say("-q", "vol-list", "default", "--details").split()
    assert row[2:5] == ["file", "20.00", "GiB"]
    below = ("--backing-vol", "x.qcow2", "--format", "qcow2")
    homes.say("vol-create-as", "default", "top", "20G", *below)
    assert images.information(path.replace("x.qcow2", "top")).backing == path
    homes.say("vol-resize", "top", "1G", "--pool", "default", "--delta")
    assert images.information(path.replace("x.qcow2", "top")).size == 21 << 30
    assert homes.quick("vol-resize", "top", "1G", "--pool", "default").code == 1


def test_what_a_machine_has_is_not_deleted(homes: Homes, folder: Path) -> None:
    homes.say("vol-create-as", "default", "x.img", "1M")
    path = homes.say("-q", "vol-path", "x.img", "default").strip()
    disk = f"<disk type='file'><source file='{path}'/><target dev='vda'/></disk>"
    homes.machines.define(homes.text("crab", devices=disk))
    assert "is a disk of crab" in homes.quick("vol-delete", path).err
    homes.machines.undefine("crab")
    assert homes.say("vol-delete", path) == "Vol x.img deleted\n\n"


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "x" * 300])
def test_names_that_lead_elsewhere(homes: Homes, folder: Path, name: str) -> None:
    assert homes.quick("vol-create-as", "default", name, "1M").code == 1
    assert homes.quick("vol-info", name, "default").code == 1
    assert homes.quick("pool-define-as", name, "dir", "--target", "/x").code == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 9999, b'{"path": 1}', b"\xff"])
def test_a_damaged_pool(homes: Homes, folder: Path, content: bytes) -> None:
    homes.say("pool-define-as", "new", "dir", "--target", str(folder))
    (homes.folder / "c/bimetal/storage/new.json").write_bytes(content)
    assert homes.say("-q", "pool-list", "--all", "--name") == "default\n"


def test_arguments_by_their_names_or_in_their_order(homes: Homes, folder: Path) -> None:
    homes.machines.define(homes.text("crab"))
    assert homes.say("-q", "domstate", "--domain", "crab") == "shut off\n"
    assert homes.quick("domstate").err == "error: command 'domstate' requires <domain> option\n"
    assert homes.quick("domstate", "a", "b").err == "error: unexpected data 'b'\n"
    assert homes.quick("shutdown", "crab", "--mode", "x").code == 1
