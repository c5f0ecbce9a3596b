"""Unmodified libvirt does to the disks of a guest that writes what virsh has words for."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest

from bimetal import fetch_guest, images
from tests.backends.block.qcow2 import qemu
from tests.control.emulator.domains import TEXT
from tests.control.emulator.libvirt import Libvirt
from tests.host import programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "unshare", "qemu-img")]

MIB = 1 << 20
SIZE, LARGER = 24 * MIB, 32 * MIB
PIECES = SIZE // 65536
PROMPT = "# "

WRITES = (
    "dd if=/dev/vda of=/model bs=1M 2>/dev/null; "
    "w() { n=0; while [ ! -e /enough ]; do "
    "dd if=/dev/urandom of=/piece bs=64k count=1 2>/dev/null; "
    f"at=$(( $(hexdump -n 3 -e '1/3 \"%d\"' /piece 2>/dev/null || echo $n) % {PIECES} )); "
    "dd if=/piece of=/dev/vda bs=64k seek=$at conv=notrunc,fsync 2>/dev/null || echo LOST; "
    "dd if=/piece of=/model bs=64k seek=$at conv=notrunc 2>/dev/null; "
    "n=$((n+1)); echo $n > /count; done; echo over > /over; }; w &"
)
"""A guest that writes to its disk, and the same to a file in its memory."""

STOP = (
    "while [ $(cat /count || echo 0) -le 10 ]; do :; done; "
    "touch /enough; while [ ! -e /over ]; do :; done"
)
SAME = (
    "sync; echo 3 > /proc/sys/vm/drop_caches; "
    f"dd if=/dev/vda bs=1M count={SIZE // MIB} 2>/dev/null | cmp - /model "
    "&& echo SA''ME $(cat /count)"
)


class Guest:
    """A Debian guest called ``crab`` on the image ``disk``, at whose console somebody sits."""

    def __init__(self, libvirt: Libvirt, folder: Path, disk: Path):
        debian = fetch_guest("debian-riscv64")
        boot = f"<kernel>{debian.kernel}</kernel><initrd>{debian.initrd}</initrd>"
        boot += f"<cmdline>{debian.append} bminput=pipe</cmdline>"
        text = TEXT.format(
            name="crab",
            kernel="",
            emulator=libvirt.programs / "qemu-system-riscv64",
            ports='<controller type="pci" model="pcie-root-port"/>' * 4,
            devices=f'<disk type="file" device="disk"><driver name="qemu" type="qcow2"/>'
            f'<source file="{disk}"/><target dev="vda" bus="virtio"/></disk>'
            '<memballoon model="none"/>',
        )
        text = text.replace("<kernel></kernel>", boot).replace(">32<", ">384<")
        path = folder / "crab.xml"
        path.write_text(text)
        self.libvirt, self.folder = libvirt, folder
        libvirt.virsh("define", str(path))
        libvirt.virsh("start", "crab")
        line = f"-c {libvirt.uri} console crab --force"
        self.console = pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=200)
        self.console.expect("BIMETAL-GUEST-UP")

    def say(self, command: str, wanted: str) -> str:
        self.console.sendline(command)
        self.console.expect(wanted)
        return str(self.console.after)

    def disks(self) -> str:
        return self.libvirt.virsh("domblklist", "crab")


def test_the_disks_of_a_guest_that_writes(libvirt: Libvirt, tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk.qcow2", tmp_path / "copy.qcow2"
    images.create(str(disk), SIZE, format="qcow2")
    guest = Guest(libvirt, tmp_path, disk)
    virsh = libvirt.virsh
    guest.say("while [ ! -b /dev/vda ]; do :; done; echo REA''DY", "READY")
    guest.say(f"{WRITES} echo BEG''UN", "BEGUN")

    virsh("snapshot-create-as", "crab", "s1", "--disk-only", "--atomic", "--no-metadata")
    assert f"vda      {tmp_path}/disk.s1" in guest.disks()
    said = virsh("blockcommit", "crab", "vda", "--active", "--pivot", "--wait", "--verbose")
    assert "Successfully pivoted" in said
    assert f"vda      {disk}" in guest.disks()

    for name in ("s2", "s3"):
        virsh("snapshot-create-as", "crab", name, "--disk-only", "--no-metadata")
    top, base = str(tmp_path / "disk.s2"), str(disk)
    virsh("blockcommit", "crab", "vda", "--top", top, "--base", base, "--wait")
    assert "Pull complete" in virsh("blockpull", "crab", "vda", "--wait", "--verbose")
    assert [each.path for each in images.chain(str(tmp_path / "disk.s3"), shared=True)] == [
        str(tmp_path / "disk.s3")
    ]

    virsh("blockcopy", "crab", "vda", str(tmp_path / "slow.img"), "--format", "raw",
          "--transient-job", "--bytes", "65536")  # fmt: skip
    assert "limit: 65536 bytes/s" in virsh("blockjob", "crab", "vda", "--info")
    virsh("blockjob", "crab", "vda", "--abort")
    assert "No current block job" in virsh("blockjob", "crab", "vda", "--info")
    words = ("--format", "qcow2", "--transient-job", "--wait", "--pivot")
    virsh("blockcopy", "crab", "vda", str(copy), *words)
    assert f"vda      {copy}" in guest.disks()

    guest.say(STOP + "; echo STO''PPED", "STOPPED")
    written = int(guest.say(SAME, r"SAME (\d+)").split()[1])
    assert written > 10

    virsh("blockresize", "crab", "vda", f"{LARGER}B")
    assert f"Capacity:       {LARGER}" in virsh("domblkinfo", "crab", "vda")
    guest.say("echo $(( $(cat /sys/block/vda/size) * 512 )) BY''TES", f"{LARGER} BYTES")
    outcome = libvirt.run("snapshot-create-as", "crab", "s4", "--disk-only", "--quiesce")
    assert "guest agent is not configured" in outcome.stderr
    guest.console.close()
    virsh("destroy", "crab")
    assert qemu.check(copy) == qemu.CLEAN
