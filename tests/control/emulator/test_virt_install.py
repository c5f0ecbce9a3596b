"""Unmodified virt-install makes machines that our emulators run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.boot.bare import write_program
from tests.control.emulator.libvirt import Libvirt
from tests.control.homes import IDLE
from tests.host import lacking, need, programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "virt-install", "unshare")]

NO_USB = ("--controller", "usb,model=none")
"""There is no USB: virt-install's controller, and its keyboard and tablet there, are left away."""
FIRMWARE = Path("/usr/share/qemu/firmware/60-edk2-aarch64.json")
USUAL = ("--memory", "256", "--vcpus", "2", "--osinfo", "debian11", "--import", "--noautoconsole")


@pytest.fixture(scope="module")
def libvirt(launchers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirt]:
    need("libvirtd", "virsh", "virt-install", "unshare")
    running = Libvirt(tmp_path_factory.mktemp("lv"), launchers)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def name(libvirt: Libvirt) -> Iterator[str]:
    """The name of a machine, which is gone after the test."""
    yield "installed"
    libvirt.run("destroy", "installed")
    libvirt.run("undefine", "installed", "--nvram")


def test_riscv_with_a_kernel(libvirt: Libvirt, name: str, tmp_path: Path) -> None:
    kernel = write_program(tmp_path / "idle.elf", *IDLE)
    said = libvirt.install(
        *("--name", name, "--arch", "riscv64", "--machine", "virt", *USUAL, *NO_USB),
        *("--disk", f"path={tmp_path}/disk.qcow2,size=0.1,format=qcow2", "--network", "user"),
        *("--boot", f"kernel={kernel}", "--graphics", "vnc"),
        *("--input", "tablet,bus=virtio", "--input", "keyboard,bus=virtio"),
    )
    assert "Domain creation completed." in said
    assert libvirt.virsh("domstate", name).strip() == "running"
    assert libvirt.virsh("vncdisplay", name).strip().startswith("127.0.0.1:")
    text = libvirt.virsh("dumpxml", name)
    for model in ("memballoon", "rng", "channel"):
        assert f"<{model} " in text


def test_arm_with_firmware(libvirt: Libvirt, name: str, tmp_path: Path) -> None:
    if not FIRMWARE.exists():
        lacking("UEFI for AArch64 is not installed (Debian: qemu-efi-aarch64)")
    libvirt.install(
        *("--name", name, "--arch", "aarch64", "--machine", "virt", *USUAL, *NO_USB),
        *("--disk", f"path={tmp_path}/disk.qcow2,size=0.1,format=qcow2", "--network", "user"),
        *("--graphics", "none"),
    )
    line = f"-c {libvirt.uri} console {name} --force"
    with pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=240) as console:
        console.expect("UEFI firmware")
        console.sendcontrol("]")
        console.expect(pexpect.EOF)
    assert libvirt.virsh("domstate", name).strip() == "running"
