"""USB devices as the drivers of a stock Linux kernel use them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bimetal import Machine
from tests.backends.vnc.served import Viewer, viewer_program
from tests.boot.conftest import LIMIT, PROMPT, Fetch
from tests.boot.test_screens import (
    HEIGHT,
    KEY,
    LEFT_SHIFT,
    WIDTH,
    A,
    do,
    points,
    record,
    recorded,
    until,
)

GUESTS = [
    pytest.param("debian-riscv64", "", marks=pytest.mark.boot),
    pytest.param("debian-riscv64", ",aia=aplic-imsic", marks=pytest.mark.slow),
    pytest.param("debian-arm64", ",gic=3", marks=pytest.mark.slow),
]
DISK, CD = 4 << 20, 1 << 20
SUMS = 12


def pattern(size: int, seed: int) -> bytes:
    """Bytes of which no two blocks are the same."""
    return b"".join(hashlib.md5(b"%d %d" % (seed, n)).digest() for n in range(size // 16))


def types(vm: Machine) -> None:
    record(vm, "keyboard", 12)
    vm.send_keys("shift-a")
    assert recorded(vm, "keyboard", 12) == [
        *((KEY, LEFT_SHIFT, 1), (KEY, A, 1), (KEY, A, 0), (KEY, LEFT_SHIFT, 0)),
    ]


def stores(vm: Machine, image: Path, cd: bytes) -> None:
    do(vm, "until [ -b /dev/sda ] && [ -b /dev/sr0 ]; do sleep 0.1; done")
    whole = hashlib.md5(image.read_bytes()).hexdigest()
    assert do(vm, "md5sum < /dev/sda").split()[0] == whole
    assert do(vm, "md5sum < /dev/sr0").split()[0] == hashlib.md5(cd).hexdigest()
    do(vm, "seq 1 100000 | dd of=/dev/sda bs=64k seek=2 conv=notrunc,fsync 2>&1")
    written = b"".join(b"%d\n" % n for n in range(1, 100001))
    assert image.read_bytes()[2 << 16 :].startswith(written)
    assert do(vm, "cat /sys/block/sda/removable /sys/block/sr0/removable").split() == ["1", "1"]


@pytest.mark.parametrize(("name", "options"), GUESTS)
def test_keyboard_tablet_disk_and_drive(
    fetched: Fetch, tmp_path: Path, name: str, options: str
) -> None:
    guest = fetched(name)
    image, cd, later = (tmp_path / each for each in ("disk.img", "cd.iso", "later.img"))
    image.write_bytes(pattern(DISK, 1))
    cd.write_bytes(pattern(CD, 2))
    later.write_bytes(pattern(CD, 3))
    viewers = viewer_program(tmp_path)
    with Machine(
        guest.board + options,
        kernel=guest.kernel,
        initrd=guest.initrd,
        append=f"{guest.append} quiet nosoftlockup",
    ) as vm:
        vm.video(width=WIDTH, height=HEIGHT)
        vm.usb(usb2=6, usb3=6)
        vm.input("keyboard", bus="usb")
        vm.input("tablet", bus="usb")
        vm.disk(image, bus="usb", removable=True, serial="STICK")
        vm.cdrom(cd, bus="usb")
        place = vm.vnc("127.0.0.1::0").address
        vm.start()
        vm.console.expect(PROMPT, LIMIT)
        do(vm, "modprobe sd_mod; modprobe sr_mod; modprobe evdev")
        do(vm, "until [ $(ls -d /sys/class/input/event* | wc -l) -ge 2 ]; do sleep 0.1; done")
        types(vm)
        viewer = Viewer(viewers, int(place[1]))
        points(vm, viewer, 9)
        viewer.close()
        stores(vm, image, cd.read_bytes())
        read = "dd if=/dev/sda bs=64k iflag=direct 2>/dev/null | md5sum"
        do(vm, f"for n in $(seq {SUMS}); do {read}; done > /sums & true")
        until(lambda: do(vm, "wc -l < /sums") != "0")
        vm.save(tmp_path / "snapshot", stop=True)
    with Machine.restore(tmp_path / "snapshot", trust=True) as vm:
        vm.start()
        assert do(vm, "wait; sort /sums | uniq -c").split() == [
            *(str(SUMS), hashlib.md5(image.read_bytes()).hexdigest(), "-"),
        ]
        types(vm)
        comes_and_goes(vm, later)
        assert do(vm, "dmesg | grep -e Oops -e 'usb.*error' -e 'xhci.*WARN'") == ""
        assert not [line for line in str(vm.stats()).splitlines() if "guest error" in line]


def comes_and_goes(vm: Machine, image: Path) -> None:
    wanted = hashlib.md5(image.read_bytes()).hexdigest()
    for _ in range(2):
        disk, mouse = vm.plug_disk(image, bus="usb", readonly=True), vm.plug_input("mouse")
        do(vm, "until [ -b /dev/sdb ]; do sleep 0.1; done")
        do(vm, "until grep -q mouse /sys/class/input/event*/device/name; do sleep 0.1; done")
        assert do(vm, "md5sum < /dev/sdb").split()[0] == wanted
        assert do(vm, "cat /sys/block/sdb/ro") == "1"
        vm.unplug(disk)
        vm.unplug(mouse)
        do(vm, "while [ -e /dev/sdb ]; do sleep 0.1; done")
        do(vm, "while grep -q mouse /sys/class/input/event*/device/name; do sleep 0.1; done")
