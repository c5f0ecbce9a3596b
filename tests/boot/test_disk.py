"""Virtio disks as a Linux guest sees them, and what is in the image afterwards."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import images
from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]
SIZE = 16 << 20
TEXT = b"written on the host"
MORE = ["", ",queues=2", ",bus=scsi"]
"""Ways in which a disk can be a guest's, besides the usual one."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raw image with a text in its first sector."""
    path = tmp_path / "disk.img"
    path.write_bytes(TEXT + bytes(SIZE - len(TEXT)))
    return path


@pytest.fixture
def booted(terminal: Start, fetched: Fetch, image: Path) -> Callable[[str], Terminal]:
    """A guest with the image as a disk of the kind given, at its prompt."""
    fetched("debian-riscv64")

    def start(kind: str) -> Terminal:
        vm = terminal("debian-riscv64", "--append", "quiet", "--disk", f"{image}{kind}")
        vm.expect(PROMPT)
        return vm

    return start


def test_reading_and_writing(booted: Callable[[str], Terminal], image: Path) -> None:
    vm = booted(",serial=BM-0042")
    assert vm.do("cat /sys/block/vda/size") == str(SIZE // 512)
    assert vm.do("cat /sys/block/vda/serial") == "BM-0042"
    assert vm.do(f"head -c {len(TEXT)} /dev/vda") == TEXT.decode()
    vm.do("printf 'written by the guest' | dd of=/dev/vda bs=512 seek=2000 conv=notrunc,fsync")
    vm.do("yes bimetal | head -c 4194304 | dd of=/dev/vda bs=64k seek=128 conv=notrunc")
    vm.send("sync; exit\r")
    assert vm.end() == 0
    data = image.read_bytes()
    assert len(data) == SIZE
    assert data.startswith(TEXT)
    assert data[2000 * 512 :].startswith(b"written by the guest\0")
    assert data[8 << 20 : 12 << 20] == (b"bimetal\n" * (1 << 19))


@pytest.mark.slow
def test_a_slot_of_version_1(terminal: Start, fetched: Fetch, image: Path) -> None:
    """QEMU's board has these by default; Linux drives them, too."""
    fetched("debian-riscv64")
    board = "riscv-virt,virtio-mmio=legacy"
    vm = terminal("debian-riscv64", "--board", board, "--append", "quiet", "--disk", str(image))
    vm.expect(PROMPT)
    assert vm.do(f"head -c {len(TEXT)} /dev/vda") == TEXT.decode()
    assert vm.do("cut -c33 /sys/block/vda/device/features") == "0", "no VIRTIO_F_VERSION_1"
    vm.do("yes bimetal | head -c 4194304 | dd of=/dev/vda bs=64k seek=128 conv=notrunc,fsync")
    vm.send("exit\r")
    assert vm.end() == 0
    assert image.read_bytes()[8 << 20 : 12 << 20] == (b"bimetal\n" * (1 << 19))


@pytest.mark.parametrize(
    ("format", "more"),
    [("raw", ""), *(pytest.param("qcow2", more, marks=pytest.mark.slow) for more in MORE)],
)
def test_bytes_that_the_host_has_to_fetch(
    terminal: Start, fetched: Fetch, tmp_path: Path, format: str, more: str
) -> None:
    """From small and large requests, one and many at a time, while the guest does other things."""
    fetched("debian-riscv64")
    source, image = tmp_path / "source.img", tmp_path / f"cold.{format}"
    name = "sda" if "scsi" in more else "vda"
    content = random.Random(1).randbytes(SIZE)
    source.write_bytes(content)
    images.convert([str(source)], str(image), format="raw", target_format=format)
    with image.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    vm = terminal("debian-riscv64", "--append", "quiet", "--disk", f"{image},format={format}{more}")
    vm.expect(PROMPT)
    if name == "sda":
        vm.do("modprobe sd_mod")
    part, whole = (hashlib.md5(each).hexdigest() for each in (content[8 << 20 :], content))
    vm.do(f"while :; do sync; done & echo 4 > /sys/block/{name}/queue/read_ahead_kb")
    assert vm.do(f"dd if=/dev/{name} bs=4k skip=2048 2>/dev/null | md5sum").split()[0] == part
    vm.do(f"echo 1024 > /sys/block/{name}/queue/read_ahead_kb")
    assert vm.do(f"md5sum /dev/{name}").split()[0] == whole
    vm.send("kill %1; sync; exit\r")
    assert vm.end() == 0
    after = tmp_path / "after.img"
    images.convert([str(image)], str(after), format=format)
    assert after.read_bytes() == content


@pytest.mark.slow
def test_a_file_system(booted: Callable[[str], Terminal], image: Path) -> None:
    vm = booted("")
    vm.do("mke2fs -q /dev/vda && mount -t ext4 /dev/vda /mnt")
    vm.do("for i in $(seq 50); do cp /bin/busybox /mnt/$i && rm /mnt/$i; done")
    vm.do("cp /bin/busybox /mnt/ && umount /mnt && mount -t ext4 /dev/vda /mnt")
    assert vm.do("cmp /bin/busybox /mnt/busybox && echo same") == "same"
    vm.send("umount /mnt; exit\r")
    assert vm.end() == 0
    assert image.read_bytes()[1024 + 56 : 1024 + 58] == b"\x53\xef"  # the magic of ext2


@pytest.mark.slow
def test_a_disk_that_is_only_read(booted: Callable[[str], Terminal], image: Path) -> None:
    before = image.read_bytes()
    vm = booted(",readonly")
    assert vm.do("cat /sys/block/vda/ro") == "1"
    assert "Operation not permitted" in vm.do("echo x | dd of=/dev/vda bs=512", status=1)
    vm.send("exit\r")
    assert vm.end() == 0
    assert image.read_bytes() == before


def test_a_disk_that_forgets(booted: Callable[[str], Terminal], image: Path) -> None:
    before = image.read_bytes()
    vm = booted(",snapshot")
    vm.do("echo changed | dd of=/dev/vda bs=512 conv=notrunc,fsync")
    assert vm.do("head -c 7 /dev/vda") == "changed"
    vm.send("exit\r")
    assert vm.end() == 0
    assert image.read_bytes() == before


def test_a_guest_cannot_shut_itself_out(booted: Callable[[str], Terminal], image: Path) -> None:
    beginning = "QFI\\373\\000\\000\\000\\003"
    vm = booted("")
    vm.do(f"printf '{beginning}' | dd of=/dev/vda bs=512 count=1 conv=notrunc,fsync")
    vm.send("exit\r")
    assert vm.end() == 0
    assert image.read_bytes().startswith(b"QFI\xfb\0\0\0\3")
    vm = booted("")
    assert vm.do("cat /sys/block/vda/size") == str(SIZE // 512)
    assert vm.do("head -c 3 /dev/vda") == "QFI"
    vm.send("exit\r")
    assert vm.end() == 0


@pytest.mark.slow
def test_an_image_that_ends_inside_a_sector(booted: Callable[[str], Terminal], image: Path) -> None:
    image.write_bytes(b"x" * 1000)
    vm = booted(",readonly")
    assert vm.do("cat /sys/block/vda/size") == "2"
    assert vm.do("tr -d '\\000' < /dev/vda | wc -c") == "1000"
    vm.send("exit\r")
    assert vm.end() == 0
    assert image.read_bytes() == b"x" * 1000
