"""Domains of libvirt that our emulators run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.boot.bare import END, write_program
from tests.control.homes import ECHO, IDLE

__all__ = ["Domain"]

PORTS = 9

TEXT = """<domain type="qemu">
  <name>{name}</name>
  <memory unit="MiB">32</memory>
  <vcpu>1</vcpu>
  <os><type arch="riscv64" machine="virt">hvm</type><kernel>{kernel}</kernel></os>
  <clock offset="utc"/>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type="usb" model="none"/>
    <controller type="pci" model="pcie-root"/>
    {ports}
    <console type="pty"/>
    {devices}
  </devices>
</domain>
"""
ROOT_PORT = '<controller type="pci" model="pcie-root-port"/>'

FULL = """
<disk type="file" device="disk">
  <driver name="qemu" type="qcow2"/>
  <source file="{image}"/>
  <target dev="vda" bus="virtio"/>
</disk>
<interface type="user"><model type="virtio"/></interface>
<channel type="unix">
  <source mode="bind"/><target type="virtio" name="org.qemu.guest_agent.0"/>
</channel>
<memballoon model="virtio"/>
<rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
"""
"""The devices that virt-install gives a machine, but for those on USB."""

SCREEN = """
<disk type="file" device="cdrom">
  <driver name="qemu" type="raw"/><target dev="sda" bus="scsi"/><readonly/>
</disk>
<controller type="scsi" model="virtio-scsi"/>
<input type="tablet" bus="virtio"/><input type="keyboard" bus="virtio"/>
<graphics type="vnc" port="-1" passwd="secret"/><video><model type="virtio"/></video>
"""


@dataclass(frozen=True)
class Domain:
    """Makes definitions in ``folder`` of machines that ``emulator`` runs."""

    folder: Path
    emulator: Path

    def file(
        self,
        name: str,
        image: Path | None = None,
        program: str | Path = "idle",
        *,
        screen: bool = False,
    ) -> str:
        """The path of a definition. The machine runs a ``program``: ``idle``, ``echo`` or ``off``,
        or one by its path; with an ``image`` it has a disk and other devices, and perhaps a
        ``screen``, keys, and a CD-ROM drive."""
        kernel = program
        if isinstance(program, str):
            lines = {"idle": IDLE, "echo": ECHO, "off": END}[program]
            kernel = write_program(self.folder / f"{program}.elf", *lines)
        path = self.folder / f"{name}.xml"
        path.write_text(
            TEXT.format(
                name=name,
                kernel=kernel,
                emulator=self.emulator,
                ports=ROOT_PORT * PORTS,
                devices=(FULL.format(image=image) if image else '<memballoon model="none"/>')
                + SCREEN * screen,
            )
        )
        return str(path)
