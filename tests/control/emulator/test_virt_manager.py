"""Unmodified virt-manager shows the screen of a machine of ours, stops it and starts it.

The test presses its buttons as programs for people who do not see them do (AT-SPI). A picture of
the window is kept in the folder that the variable BIMETAL_PICTURES names, if it is set.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from bimetal import Payload
from bimetal.base.clock import Countdown
from tests.control.emulator.libvirt import Libvirt
from tests.control.emulator.test_virt_install import USUAL
from tests.host import lacking, need, program_path, programs

NEEDED = (
    *("libvirtd", "virsh", "virt-install", "virt-manager", "Xvfb", "import"),
    *("nsenter", "dbus-run-session", "unshare"),
)
pytestmark = [pytest.mark.slow, programs(*NEEDED)]

PYTHON = "/usr/bin/python3"
"""Debian's, which has its libraries."""
NAME, LIMIT = "shown", 240
WIDTH, HEIGHT = 1024, 768
HEADER = range(20, 160)
"""Pixels that menus and buttons may take above the screen."""
ALIKE = 0.99
"""How much of the screen has to be as it is: a cursor blinks."""

PRESS = """
import sys
import gi
gi.require_version("Atspi", "2.0")
from gi.repository import Atspi

def nodes(node):
    yield node
    for number in range(node.get_child_count()):
        child = node.get_child_at_index(number)
        if child is not None:
            yield from nodes(child)

role, name = sys.argv[1:]
for node in nodes(Atspi.get_desktop(0)):
    if (node.get_role_name(), node.get_name()) == (role, name) and node.get_n_actions():
        sys.exit(not node.do_action(0))
sys.exit(1)
"""
"""Presses what has that role and that name; 1 if there is none, or it cannot be pressed."""


class Desktop:
    """A screen of X, and virt-manager on it, in the mount name space of ``libvirt``."""

    def __init__(self, libvirt: Libvirt, folder: Path):
        read, write = os.pipe()
        command = [program_path("Xvfb"), "-displayfd", str(write), "-screen", "0", "1280x960x24"]
        self._server = subprocess.Popen(
            command, pass_fds=[write], stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(write)
        with os.fdopen(read) as told:
            display = f":{told.readline().strip()}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "DISPLAY": display,
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "DBUS_SESSION_BUS_ADDRESS": "",
            "GTK_A11Y": "atspi",
        }
        inside = ["nsenter", "-t", str(libvirt.pid), "-m", "--", "dbus-run-session", "--", "sh"]
        bus = folder / "bus"
        words = f"--connect qemu:///system --no-fork --show-domain-console {NAME}"
        script = f"echo $DBUS_SESSION_BUS_ADDRESS > {bus}; exec virt-manager {words}"
        with (folder / "messages").open("w") as messages:
            self._manager = subprocess.Popen(
                [*inside, "-c", script],
                env=self._environment,
                stdout=messages,
                stderr=messages,
                start_new_session=True,
            )
        self._bus = bus

    def press(self, role: str, name: str) -> None:
        """Press a button, once it is there."""
        until(lambda: self._pressed(role, name))

    def _pressed(self, role: str, name: str) -> bool:
        if not self._bus.exists():
            return False
        address = self._bus.read_text().strip()
        pressed = subprocess.run(
            [PYTHON, "-W", "ignore", "-c", PRESS, role, name],
            env={**self._environment, "DBUS_SESSION_BUS_ADDRESS": address},
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=LIMIT,
        )
        return pressed.returncode == 0

    def picture(self, path: Path) -> Image.Image:
        """What is on the screen of X."""
        command = [program_path("import"), "-window", "root", str(path)]
        subprocess.run(command, env=self._environment, check=True, timeout=LIMIT)
        with Image.open(path) as seen:
            return seen.convert("RGB")

    def close(self) -> None:
        for process in (self._manager, self._server):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(LIMIT)


def until(holds: Callable[[], bool]) -> None:
    """Something happens soon, and nobody says when."""
    countdown = Countdown(LIMIT)
    while not holds():
        assert countdown.left, "it never happened"


@pytest.fixture
def libvirt(launchers: Path, tmp_path: Path) -> Iterator[Libvirt]:
    need(*NEEDED)
    look = "import gi; gi.require_version('Atspi', '2.0')"
    if subprocess.run([PYTHON, "-c", look], stderr=subprocess.DEVNULL, check=False).returncode:
        lacking("AT-SPI is not there (Debian: at-spi2-core, gir1.2-atspi-2.0)")
    running = Libvirt(tmp_path / "lv", launchers)
    try:
        yield running
    finally:
        running.run("destroy", NAME)
        running.run("undefine", NAME)
        running.close()


def shows(desktop: Desktop, libvirt: Libvirt, folder: Path) -> bool:
    """Whether what the guest shows is in the window, to the pixel, and is more than nothing."""
    if libvirt.run("screenshot", NAME, str(folder / "screen.png")).returncode:
        return False
    with Image.open(folder / "screen.png") as file:
        screen = file.convert("RGB")
    window = desktop.picture(folder / "virt-manager.png")
    if screen.size != (WIDTH, HEIGHT) or screen.getbbox() is None:
        return False
    return any(alike(screen, window.crop((0, y, WIDTH, y + HEIGHT))) for y in HEADER)


def alike(one: Image.Image, other: Image.Image) -> bool:
    if one.crop((0, 0, WIDTH, 32)).tobytes() != other.crop((0, 0, WIDTH, 32)).tobytes():
        return False
    same = ImageChops.difference(one, other).convert("L").histogram()[0]
    return same > ALIKE * WIDTH * HEIGHT


def test_the_screen_is_shown_and_the_machine_is_stopped_and_started(
    libvirt: Libvirt, tmp_path: Path, guest: Payload
) -> None:
    libvirt.install(
        *("--name", NAME, "--arch", "riscv64", "--machine", "virt", *USUAL),
        *("--disk", f"path={tmp_path}/disk.qcow2,size=0.1,format=qcow2", "--network", "user"),
        *("--boot", f"kernel={guest.kernel},initrd={guest.initrd},kernel_args=console=tty0"),
        *("--graphics", "vnc"),
    )
    desktop = Desktop(libvirt, tmp_path)
    try:
        until(lambda: shows(desktop, libvirt, tmp_path))
        if folder := os.environ.get("BIMETAL_PICTURES"):
            shutil.copy(tmp_path / "virt-manager.png", folder)
        desktop.press("menu item", "Force Off")
        desktop.press("push button", "Yes")
        libvirt.until("shut off", "domstate", NAME)
        desktop.press("push button", "Run")
        libvirt.until("running", "domstate", NAME)
        until(lambda: shows(desktop, libvirt, tmp_path))
    finally:
        desktop.close()
