"""Unmodified libvirt makes checkpoints and incremental backups of a guest that writes; qemu-img
compares them with the disk."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bimetal import images
from tests.backends.block.qcow2 import qemu
from tests.backends.block.qcow2.test_bitmaps import flags
from tests.control.emulator.libvirt import Libvirt
from tests.control.emulator.test_libvirt_disks import SIZE, Guest
from tests.host import programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "unshare", "qemu-img")]

BACKUP = """
<domainbackup mode="push">{since}<disks><disk name="vda" type="file">
<target file="{target}"/><driver type="qcow2"/></disk></disks></domainbackup>
"""
PULL = """
<domainbackup mode="pull">{since}<server transport="unix" socket="{socket}"/><disks>
<disk name="vda" type="file"><scratch file="{scratch}"/></disk></disks></domainbackup>
"""
CHECKPOINT = "<domaincheckpoint><name>{name}</name></domaincheckpoint>"


class Backups:
    """Backups of the guest's disk, each of which lies on the one before."""

    def __init__(self, guest: Guest, folder: Path):
        self._guest, self._folder = guest, folder
        self._links: list[tuple[Path, Path]] = []

    def write(self) -> None:
        """The guest writes here and there, and flushes that."""
        seek = 17 * len(self._links)
        order = f"dd if=/dev/urandom of=/dev/vda bs=64k count=9 seek={seek} conv=fsync 2>/dev/null"
        self._guest.say(f"{order}; echo WRIT''TEN", "WRITTEN")

    def add(self, disk: Path) -> None:
        """One more, of what has changed since the last, and a checkpoint with it."""
        number, virsh = len(self._links), self._guest.libvirt.virsh
        target, shown = self._folder / f"backup{number}", self._folder / f"shown{number}"
        since = f"<incremental>c{number - 1}</incremental>" if number else ""
        for name, text in (
            ("backup.xml", BACKUP.format(since=since, target=target)),
            ("checkpoint.xml", CHECKPOINT.format(name=f"c{number}")),
        ):
            (self._folder / name).write_text(text)
        virsh("backup-begin", "crab", *(str(self._folder / f"{name}.xml")
              for name in ("backup", "checkpoint")))  # fmt: skip
        self._guest.libvirt.until("Job type:         None", "domjobinfo", "crab")
        shutil.copy(disk, shown)
        self._links.append((target, shown))

    def judge(self) -> None:
        below = None
        for target, shown in self._links:
            if below is not None:
                qemu.img("rebase", "-u", "-f", "qcow2", "-b", below, "-F", "qcow2", target)
            qemu.img("compare", "-f", "qcow2", "-F", "qcow2", target, shown)
            below = target


def test_a_chain_of_backups(libvirt: Libvirt, tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk.qcow2", tmp_path / "copy.qcow2"
    images.create(str(disk), SIZE, format="qcow2")
    guest = Guest(libvirt, tmp_path, disk)
    virsh = libvirt.virsh
    guest.say("while [ ! -b /dev/vda ]; do :; done; echo REA''DY", "READY")
    virsh("domblkthreshold", "crab", "vda", str(1 << 40))
    assert f"block.0.threshold={1 << 40}" in virsh("domstats", "--block", "crab")
    backups = Backups(guest, tmp_path)
    for _ in range(3):
        backups.write()
        backups.add(disk)
    listed = virsh("checkpoint-list", "crab", "--tree")
    assert [line.strip(" +-|") for line in listed.split("\n") if "c" in line] == ["c0", "c1", "c2"]

    backups.write()
    virsh("snapshot-create-as", "crab", "s1", "--disk-only", "--no-metadata")
    virsh("checkpoint-create-as", "crab", "between")
    virsh("blockcommit", "crab", "vda", "--active", "--pivot", "--wait")
    words = ("--format", "qcow2", "--transient-job", "--wait", "--pivot")
    virsh("blockcopy", "crab", "vda", str(copy), *words)
    backups.add(copy)
    assert virsh("checkpoint-list", "crab", "--name").split() == ["between", "c0", "c1", "c2", "c3"]
    virsh("checkpoint-delete", "crab", "c1")
    guest.console.close()
    virsh("destroy", "crab")
    virsh("undefine", "crab", "--checkpoints-metadata")
    backups.judge()
    for path in (disk, copy):
        assert qemu.check(path) == qemu.CLEAN
    assert flags(copy).keys() == {"c0", "between", "c2", "c3"}


class Pulled:
    """Backups that somebody else fetches, each of what has changed since the one before."""

    def __init__(self, guest: Guest, folder: Path):
        self._guest, self._folder, self._number = guest, folder, 0
        self._socket = folder / "nbd"

    def fetch(self) -> Path:
        """One more: what the disk was when it began. What has changed since the last is as
        `nbdinfo` tells it; the guest writes on meanwhile."""
        number, virsh = self._number, self._guest.libvirt.virsh
        scratch, copy = self._folder / f"scratch{number}", self._folder / f"pulled{number}"
        since = f"<incremental>p{number - 1}</incremental>" if number else ""
        for name, text in (
            ("backup.xml", PULL.format(since=since, socket=self._socket, scratch=scratch)),
            ("checkpoint.xml", CHECKPOINT.format(name=f"p{number}")),
        ):
            (self._folder / name).write_text(text)
        virsh("backup-begin", "crab", *(str(self._folder / f"{name}.xml")
              for name in ("backup", "checkpoint")))  # fmt: skip
        assert "Operation:        Backup" in virsh("domjobinfo", "crab")
        self._guest.say("dd if=/dev/urandom of=/dev/vda bs=64k count=20 seek=90 conv=fsync "
                        "2>/dev/null; echo OVER''WRITTEN", "OVERWRITTEN")  # fmt: skip
        uri = f"nbd+unix:///vda?socket={self._socket}"
        if number:
            told = run(["nbdinfo", "--map=qemu:dirty-bitmap:backup-vda", "--json", uri])
            self.changed = [(each["offset"], each["length"])
                            for each in json.loads(told) if each["type"]]  # fmt: skip
        run(["nbdcopy", uri, str(copy)])
        virsh("domjobabort", "crab")
        self._guest.libvirt.until("Job type:         None", "domjobinfo", "crab")
        assert not scratch.exists()
        self._number += 1
        return copy


def run(words: list[str]) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@programs("nbdinfo", "nbdcopy")
def test_backups_that_are_fetched(libvirt: Libvirt, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), SIZE, format="qcow2")
    guest = Guest(libvirt, tmp_path, disk)
    guest.say("while [ ! -b /dev/vda ]; do :; done; echo REA''DY", "READY")
    backups = Backups(guest, tmp_path)
    pulled = Pulled(guest, tmp_path)
    shown = list[tuple[Path, Path]]()
    for _ in range(3):
        backups.write()
        shutil.copy(disk, shown_now := tmp_path / f"disk{len(shown)}")
        shown.append((pulled.fetch(), shown_now))
    for copy, then in shown:
        qemu.img("compare", "-f", "raw", "-F", "qcow2", copy, then)
    first, second = (copy.read_bytes() for copy, _ in shown[1:])
    for at in range(0, len(first), 64 << 10):
        if first[at : at + (64 << 10)] != second[at : at + (64 << 10)]:
            assert any(start <= at < start + length for start, length in pulled.changed)
    assert sum(length for _, length in pulled.changed) < len(first) // 2
    guest.console.close()
    libvirt.virsh("destroy", "crab")
    libvirt.virsh("undefine", "crab", "--checkpoints-metadata")
    assert qemu.check(disk) == qemu.CLEAN
    assert flags(disk).keys() == {"p0", "p1", "p2"}
