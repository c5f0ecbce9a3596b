"""Unmodified virt-install makes machines that our emulators run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from PIL import Image, ImageChops

from bimetal import Payload
from tests.boot.bare import write_program
from tests.boot.conftest import LIMIT, PROMPT
from tests.control.emulator.libvirt import Libvirt
from tests.control.homes import IDLE
from tests.host import lacking, programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "virt-install", "unshare")]

FIRMWARE = Path("/usr/share/qemu/firmware/60-edk2-aarch64.json")
USUAL = ("--memory", "256", "--vcpus", "2", "--osinfo", "debian11", "--import", "--noautoconsole")


@pytest.fixture
def name(libvirt: Libvirt) -> Iterator[str]:
    """The name of a machine, which is gone after the test."""
    yield "installed"
    libvirt.run("destroy", "installed")
    libvirt.run("undefine", "installed", "--nvram")


def test_riscv_with_a_kernel(libvirt: Libvirt, name: str, tmp_path: Path) -> None:
    kernel = write_program(tmp_path / "idle.elf", *IDLE)
    said = libvirt.install(
        *("--name", name, "--arch", "riscv64", "--machine", "virt", *USUAL),
        *("--disk", f"path={tmp_path}/disk.qcow2,size=0.1,format=qcow2", "--network", "user"),
        *("--boot", f"kernel={kernel}", "--graphics", "vnc"),
    )
    assert "Domain creation completed." in said
    assert libvirt.virsh("domstate", name).strip() == "running"
    assert libvirt.virsh("vncdisplay", name).strip().startswith("127.0.0.1:")
    text = libvirt.virsh("dumpxml", name)
    for model in ("memballoon", "rng", "channel"):
        assert f"<{model} " in text
    assert "<controller type='usb' index='0' model='qemu-xhci'" in text
    assert "<input type='tablet' bus='usb'>" in text


def test_arm_with_firmware(libvirt: Libvirt, name: str, tmp_path: Path) -> None:
    if not FIRMWARE.exists():
        lacking("UEFI for AArch64 is not installed (Debian: qemu-efi-aarch64)")
    libvirt.install(
        *("--name", name, "--arch", "aarch64", "--machine", "virt", *USUAL),
        *("--disk", f"path={tmp_path}/disk.qcow2,size=0.1,format=qcow2", "--network", "user"),
        *("--graphics", "vnc"),
    )
    text = libvirt.virsh("dumpxml", name)
    assert "<input type='keyboard' bus='usb'>" in text
    line = f"-c {libvirt.uri} console {name} --force"
    with pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=240) as console:
        console.expect("UEFI firmware")
        console.sendcontrol("]")
        console.expect(pexpect.EOF)
    assert libvirt.virsh("domstate", name).strip() == "running"


@pytest.mark.parametrize("video", ["virtio", "ramfb"])
def test_the_screen_of_uefi(libvirt: Libvirt, name: str, tmp_path: Path, video: str) -> None:
    """Its messages, and its menu once a key was pressed, as the serial line has them, too."""
    if not FIRMWARE.exists():
        lacking("UEFI for AArch64 is not installed (Debian: qemu-efi-aarch64)")
    libvirt.install(
        *("--name", name, "--arch", "aarch64", "--machine", "virt", *USUAL),
        *("--disk", "none", "--network", "none", "--graphics", "vnc", "--video", video),
    )
    line = f"-c {libvirt.uri} console {name} --force"
    with pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=LIMIT) as console:
        console.expect("Press any key to enter the Boot Manager")
        before = screen(libvirt, name, tmp_path / "before.png")
        libvirt.virsh("send-key", name, "KEY_ENTER")
        console.expect("Device Manager")
        console.expect("Boot Manager")
        after = screen(libvirt, name, tmp_path / "after.png")
        console.sendcontrol("]")
        console.expect(pexpect.EOF)
    assert sum(before.histogram()[64:]) > 5000, "a logo, and lines of text"
    assert sum(ImageChops.difference(before, after).histogram()[64:]) > 5000, "a menu"


def screen(libvirt: Libvirt, name: str, picture: Path) -> Image.Image:
    """What is on the screen, in shades of gray."""
    libvirt.virsh("screenshot", name, str(picture))
    with Image.open(picture) as seen:
        return seen.convert("L")


def test_a_usb_disk_comes_and_goes_and_keys_are_typed(
    libvirt: Libvirt, name: str, tmp_path: Path, guest: Payload
) -> None:
    stick = tmp_path / "stick.img"
    stick.write_bytes(b"stick" + bytes((1 << 20) - 5))
    libvirt.install(
        *("--name", name, "--arch", "riscv64", "--machine", "virt", *USUAL),
        *("--disk", f"path={tmp_path}/disk.qcow2,size=0.1,format=qcow2", "--network", "user"),
        *("--boot", f"kernel={guest.kernel},initrd={guest.initrd},kernel_args=console=ttyS0"),
        *("--graphics", "vnc"),
    )
    line = f"-c {libvirt.uri} console {name} --force"
    with pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=LIMIT) as console:
        console.sendline()
        console.expect(PROMPT)
        console.sendline(
            "modprobe evdev; modprobe sd_mod; until [ -c /dev/input/event1 ]; do sleep 0.1; done; "
            "head -c 48 /dev/input/event1 | wc -c"
        )
        console.expect("wc -c")
        while console.expect(["48\r", pexpect.TIMEOUT], timeout=2):  # it may not listen yet
            libvirt.virsh("send-key", name, "KEY_A")
        libvirt.virsh("attach-disk", name, str(stick), "sda", "--targetbus", "usb")
        console.sendline("until [ -b /dev/sda ]; do sleep 0.1; done; head -c 5 /dev/sda; echo")
        console.expect("stick\r")
        assert "sda" in libvirt.virsh("domblklist", name)
        libvirt.virsh("detach-disk", name, "sda")
        console.sendline("while [ -e /dev/sda ]; do sleep 0.1; done; echo go''ne")
        console.expect("gone\r")
        assert "sda" not in libvirt.virsh("domblklist", name)
        picture = tmp_path / "screen.png"
        libvirt.virsh("screenshot", name, str(picture))
        with Image.open(picture) as seen:
            assert seen.size == (1024, 768)
        console.sendcontrol("]")
        console.expect(pexpect.EOF)


def test_a_hub_and_what_is_behind_it(
    libvirt: Libvirt, name: str, tmp_path: Path, guest: Payload
) -> None:
    usb = "address/@type=usb", "address/@bus=0"
    hub = [f"./devices/hub/{each}" for each in ("@type=usb", *usb, "address/@port=1")]
    tablet = [f"./devices/input[1]/{each}" for each in (*usb, "address/@port=1.2")]
    libvirt.install(
        *("--name", name, "--arch", "riscv64", "--machine", "virt", *USUAL),
        *("--disk", "none", "--network", "none"),
        *(word for each in (*hub, *tablet) for word in ("--xml", each)),
        *("--boot", f"kernel={guest.kernel},initrd={guest.initrd},kernel_args=console=ttyS0"),
        *("--graphics", "vnc", "--input", "type=tablet,bus=usb"),
    )
    mouse = tmp_path / "mouse.xml"
    mouse.write_text(
        "<input type='mouse' bus='usb'><address type='usb' bus='0' port='1.3'/></input>"
    )
    line = f"-c {libvirt.uri} console {name} --force"
    with pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=LIMIT) as console:
        console.sendline()
        console.expect(PROMPT)
        console.sendline(
            "cd /sys/bus/usb/devices; until [ -e 1-1.2 ]; do sleep 0.1; done; echo th''ere"
        )
        console.expect("there\r")
        libvirt.virsh("attach-device", name, str(mouse))
        console.sendline("until [ -e 1-1.3 ]; do sleep 0.1; done; echo plug''ged")
        console.expect("plugged\r")
        libvirt.virsh("detach-device", name, str(mouse))
        console.sendline("while [ -e 1-1.3 ]; do sleep 0.1; done; echo go''ne")
        console.expect("gone\r")
        console.sendcontrol("]")
        console.expect(pexpect.EOF)
