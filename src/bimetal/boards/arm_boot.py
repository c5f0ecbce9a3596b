"""How an Arm board starts: with the machine's own PSCI, and with firmware or without.

* Without ``bios`` CPU 0 enters the kernel, the others wait until it starts them by PSCI.
* With ``bios``, or a flash image, CPU 0 enters the flash at its start; firmware finds the kernel by
  fw_cfg and the device tree at the start of RAM, as under QEMU.
* With ``bios="none"`` all CPUs enter the kernel, and nobody answers calls to firmware.

CPUs start at EL1, or at EL2 where the board has that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from bimetal.boards.arm_cpus import BoardCpus, begin
from bimetal.boards.software import Layout, Software
from bimetal.devices.config.fw_cfg import FwCfg
from bimetal.firmware.devicetree import Node
from bimetal.firmware.processors import AARCH64
from bimetal.firmware.psci import Psci
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS
from bimetal.machine.cpus import CpuControl
from bimetal.machine.hardware import Firmware
from bimetal.seam import Cpu

__all__ = ["ArmBoot"]


class ArmBoot:
    """Start of a board whose RAM begins at ``ram_at`` and whose first flash bank lies at
    ``flash_at``; ``describe`` makes its device tree, ``tables`` the files of fw_cfg in which
    firmware in flash finds other tables."""

    def __init__(
        self,
        chassis: Chassis,
        *,
        ram_at: int,
        flash_at: int,
        fw_cfg: FwCfg,
        describe: Callable[[], Node],
        tables: Callable[[], Mapping[str, bytes]],
        hypervisor: bool,
    ):
        self._flash_at, self._fw_cfg, self._tables = flash_at, fw_cfg, tables
        layout = Layout(ram_at, flash_tree_at=ram_at)
        self._software = Software(chassis, AARCH64, layout, describe)
        self._tree_at = self._entry = 0
        self.firmware_calls = chassis.config.bios != NO_BIOS
        self.hypervisor = hypervisor
        self.moved: Mapping[str, int] = {}
        self.unused = (0, 0)
        self._chassis = chassis

    # See Boot

    def load(self) -> None:
        loaded = self._software.load()
        self.moved, self.unused = loaded.moved, loaded.unused
        if loaded.kernel is not None:
            self._entry, self._tree_at = loaded.kernel.entry, loaded.tree_at
        else:
            self._entry, self._tree_at = self._flash_at, 0
            self._software.tell_firmware(self._fw_cfg)
            for name, content in self._tables().items():
                self._fw_cfg.add_file(name, content)

    def device_tree(self) -> bytes:
        return self._software.device_tree()

    def enter(self, cpu: Cpu) -> bool:
        begin(cpu, self._entry, self._tree_at)
        return cpu.index == 0 or not self.firmware_calls

    def firmware(self, cpus: CpuControl) -> Firmware:
        return Psci(BoardCpus(self._chassis, cpus), self._chassis.space, os.urandom).call
