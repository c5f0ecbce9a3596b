"""Unmodified libvirt makes checkpoints and incremental backups of a guest that writes; qemu-img
compares them with the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bimetal import images
from tests.backends.block.qcow2 import qemu
from tests.backends.block.qcow2.test_bitmaps import flags
from tests.control.emulator.libvirt import Libvirt
from tests.control.emulator.test_libvirt_disks import SIZE, Guest, libvirt
from tests.host import programs

__all__ = ["libvirt"]

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "unshare", "qemu-img")]

BACKUP = """
<domainbackup mode="push">{since}<disks><disk name="vda" type="file">
<target file="{target}"/><driver type="qcow2"/></disk></disks></domainbackup>
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
    backups.judge()
    for path in (disk, copy):
        assert qemu.check(path) == qemu.CLEAN
    assert flags(copy).keys() == {"c0", "between", "c2", "c3"}
