"""Screens, keyboards and tablets as the drivers of a stock Linux kernel use them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from PIL import Image

from bimetal import Machine
from bimetal.base.clock import Countdown
from bimetal.screen.inputs import RANGE
from tests.backends.vnc.served import Viewer, viewer_program
from tests.boot.conftest import LIMIT, PROMPT, Fetch

WIDTH, HEIGHT = 640, 400
GUESTS = [
    pytest.param("debian-riscv64", marks=pytest.mark.boot),
    pytest.param("debian-arm64", marks=pytest.mark.slow),
]
A, LEFT_SHIFT, LEFT_BUTTON = 30, 42, 0x110
KEY, ABSOLUTE = 1, 3
EVENT = struct.Struct("<16xHHi")

Event = tuple[int, int, int]


def do(vm: Machine, command: str) -> str:
    """Type a command; what it prints."""
    vm.console.sendline(f"echo be''gin; {command}; echo en''d")
    found = vm.console.expect(re.compile(r"begin\r*\n(.*?)end\r*\n", re.DOTALL), LIMIT)
    vm.console.expect(PROMPT, LIMIT)
    return found.groups[0].replace("\r", "").strip()


def until(holds: Callable[[], bool]) -> None:
    """The guest does something soon, and does not say when."""
    countdown = Countdown(LIMIT)
    while not holds():
        assert countdown.left, "it never happened"


def shown(vm: Machine, path: Path) -> bytes:
    vm.screendump(path)
    with Image.open(path) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        return picture.tobytes()


def numbers(length: int) -> bytes:
    """What ``seq 1 1000000 | head -c LENGTH`` prints."""
    return b"".join(b"%d\n" % n for n in range(1, length))[:length]


@pytest.mark.parametrize("name", GUESTS)
def test_a_screen_and_a_keyboard(fetched: Fetch, tmp_path: Path, name: str) -> None:
    guest = fetched(name)
    words = f"{guest.append} quiet"
    with Machine(guest.board, kernel=guest.kernel, initrd=guest.initrd, append=words) as vm:
        vm.video(width=WIDTH, height=HEIGHT)
        vm.input("keyboard")
        vm.input("tablet")
        place = vm.vnc("127.0.0.1::0").address
        vm.start()
        vm.console.expect(PROMPT, LIMIT)
        knows_its_monitor(vm)
        draws(vm, tmp_path)
        hears_keys(vm)
        viewer = Viewer(viewer_program(tmp_path), int(place[1]))
        points(vm, viewer, 7)
        viewer.close()
        assert not [line for line in str(vm.stats()).splitlines() if "guest error" in line]


def knows_its_monitor(vm: Machine) -> None:
    assert do(vm, "cat /sys/class/graphics/fb0/virtual_size") == f"{WIDTH},{HEIGHT}"
    monitor = "/sys/class/drm/card0-Virtual-1"
    assert do(vm, f"head -n1 {monitor}/modes; wc -c < {monitor}/edid").split() == [
        *(f"{WIDTH}x{HEIGHT}", "128"),
    ]


def draws(vm: Machine, folder: Path) -> None:
    length = 4 * WIDTH * HEIGHT
    do(vm, "echo 0 > /sys/class/graphics/fbcon/cursor_blink")
    do(vm, f"seq 1 1000000 | head -c {length} > /dev/fb0")
    data = numbers(length)
    expected = bytearray(3 * WIDTH * HEIGHT)
    for colour in range(3):
        expected[2 - colour :: 3] = data[colour::4]
    until(lambda: shown(vm, folder / "shown.png") == expected)


def record(vm: Machine, name: str, count: int) -> None:
    """Have the guest keep the next events of the device whose name ends so."""
    names = do(vm, "cat /sys/class/input/event*/device/name").splitlines()
    place = next(n for n, each in enumerate(names) if each.endswith(name))
    do(vm, f"head -c {count * EVENT.size} /dev/input/event{place} > /{name} & true")
    do(vm, "until ls -l /proc/$!/fd | grep -q event; do :; done")


def recorded(
    vm: Machine, name: str, count: int, kinds: Collection[int] = (KEY, ABSOLUTE)
) -> list[Event]:
    """What it has kept of these ``kinds``."""
    vm.console.sendline(f'wait; hexdump -v -e \'24/1 "%02x" "\\n"\' /{name}')
    found = vm.console.expect(re.compile(rf"(?:[0-9a-f]{{48}}\r*\n){{{count}}}"), LIMIT)
    vm.console.expect(PROMPT, LIMIT)
    events = [EVENT.unpack(bytes.fromhex(each)) for each in found.text.split()]
    return [each for each in events if each[0] in kinds]


def hears_keys(vm: Machine) -> None:
    do(vm, "modprobe evdev")
    record(vm, "keyboard", 8)
    vm.send_keys("shift-a")
    assert recorded(vm, "keyboard", 8) == [
        *((KEY, LEFT_SHIFT, 1), (KEY, A, 1), (KEY, A, 0), (KEY, LEFT_SHIFT, 0)),
    ]


def points(vm: Machine, viewer: Viewer, count: int) -> None:
    """Somebody moves a pointer and clicks, of which the guest hears ``count`` events."""
    record(vm, "tablet", count)
    for buttons in (0, 1, 0):
        viewer.do("pointer", 320, 100, buttons)
    (_, _, x), (_, _, y), *clicks = recorded(vm, "tablet", count)
    assert abs(x - 320 / (WIDTH - 1) * RANGE) <= 1
    assert abs(y - 100 / (HEIGHT - 1) * RANGE) <= 1
    assert clicks == [(KEY, LEFT_BUTTON, 1), (KEY, LEFT_BUTTON, 0)]
