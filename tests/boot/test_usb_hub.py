"""Hubs on USB as Linux drives them: what is behind them, what comes and goes there, and that it all
is saved and restored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bimetal import BimetalError, Machine
from bimetal.control import Monitor
from bimetal.machine.events import EventKind
from tests.boot.conftest import LIMIT, PROMPT, Fetch
from tests.boot.test_screens import do, record, recorded
from tests.boot.test_usb import pattern, types

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SIZE = 1 << 20
RELATIVE, X, Y = 2, 0, 1
"""Numbers of Linux's for what a mouse does."""
NAMES = "cat /sys/bus/usb/devices/*/product"


def has(vm: Machine, file: str) -> None:
    """Wait until there is such a file in the guest."""
    do(vm, f"until [ -e {file} ]; do sleep 0.1; done")


def lacks(vm: Machine, file: str) -> None:
    do(vm, f"while [ -e {file} ]; do sleep 0.1; done")


def test_linux_finds_what_is_behind_hubs(fetched: Fetch, tmp_path: Path) -> None:
    guest = fetched("debian-riscv64")
    image = tmp_path / "disk.img"
    image.write_bytes(pattern(SIZE, 1))
    with Machine(
        guest.board,
        kernel=guest.kernel,
        initrd=guest.initrd,
        append=f"{guest.append} quiet nosoftlockup",
    ) as vm:
        vm.usb_hub(socket=1)
        vm.usb_hub(socket="1.8")
        vm.input("keyboard", bus="usb", socket="1.2")
        vm.disk(image, bus="usb", removable=True, socket="1.8.1")
        vm.start()
        vm.console.expect(PROMPT, LIMIT)
        do(vm, "modprobe sd_mod; modprobe evdev")
        has(vm, "/sys/bus/usb/devices/1-1.8.1")
        has(vm, "/sys/class/input/event0")
        assert do(vm, "cat /sys/bus/usb/devices/1-1/maxchild").split() == ["8"]
        speeds = "cd /sys/bus/usb/devices; cat 1-1/speed 1-1.2/speed 1-1.8/speed 1-1.8.1/speed"
        assert do(vm, speeds).split() == ["12"] * 4
        stored(vm, image)
        types(vm)
        comes_and_goes(vm)
        vm.save(tmp_path / "snapshot", stop=True)
    with Machine.restore(tmp_path / "snapshot", trust=True) as vm:
        vm.start()
        types(vm)
        stored(vm, image)
        comes_and_goes(vm)
        gone = []
        with vm.on_event(lambda event: gone.append((event.kind, event.device))):
            vm.unplug("hub0")
        lacks(vm, "/sys/bus/usb/devices/1-1")
        assert gone == [
            (EventKind.UNPLUGGED, name) for name in ("disk0", "hub1", "keyboard", "hub0")
        ]
        assert do(vm, "dmesg | grep -e Oops -e 'xhci.*WARN'") == ""
        with pytest.raises(BimetalError, match=r"no free USB socket 1\.3"):
            vm.plug_input("mouse", socket="1.3")


def stored(vm: Machine, image: Path) -> None:
    do(vm, "echo 3 > /proc/sys/vm/drop_caches; until [ -b /dev/sda ]; do sleep 0.1; done")
    wanted = hashlib.md5(image.read_bytes()).hexdigest()
    assert do(vm, "md5sum < /dev/sda").split()[0] == wanted


def comes_and_goes(vm: Machine) -> None:
    """A mouse at a hub that is plugged into a hub, behind which there may have been nothing for so
    long that Linux has suspended it."""
    for _ in range(2):
        assert vm.plug_hub(socket="1.4") == "usb1.4"
        has(vm, "/sys/bus/usb/devices/1-1.4")
        has(vm, "/sys/bus/usb/devices/1-1.4/power/runtime_status")
        do(vm, "until grep -q suspended /sys/bus/usb/devices/1-1.4/power/runtime_status; do "
               "sleep 0.1; done")  # fmt: skip
        assert vm.plug_input("mouse", socket="1.4.7") == "usb1.4.7"
        has(vm, "/sys/bus/usb/devices/1-1.4.7")
        assert "Bimetal USB mouse" in do(vm, NAMES)
        moves(vm)
        vm.unplug("usb1.4.7")
        lacks(vm, "/sys/bus/usb/devices/1-1.4.7")
        vm.unplug("usb1.4")
        lacks(vm, "/sys/bus/usb/devices/1-1.4")


def moves(vm: Machine) -> None:
    """What QMP says of a mouse is one report of the guest's."""
    do(vm, "until grep -q mouse /sys/class/input/event*/device/name; do sleep 0.1; done")
    record(vm, "mouse", 3)
    steps = [
        {"type": "rel", "data": {"axis": axis, "value": n}} for axis, n in (("x", 5), ("y", -3))
    ]
    Monitor(vm).execute("input-send-event", events=steps)
    assert recorded(vm, "mouse", 3, (RELATIVE,)) == [(RELATIVE, X, 5), (RELATIVE, Y, -3)]
