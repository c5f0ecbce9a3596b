"""How a RISC-V board starts: with the machine's own SBI, with firmware, or with neither.

* Without ``bios`` the machine is its own firmware: hart 0 enters the kernel in S-mode, the others
  wait until the kernel starts them by SBI calls.
* With ``bios`` all harts run that firmware in M-mode from reset; it finds a kernel where QEMU puts
  it, and OpenSBI's ``fw_dynamic`` is told about it.
* With ``bios="none"`` all harts run the kernel itself in M-mode.

With a flash image, what is in flash takes the place of the kernel; it finds the kernel by fw_cfg.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bimetal.boards.riscv_harts import BoardHarts, enter_supervisor
from bimetal.boards.software import Layout, Software
from bimetal.devices.config.fw_cfg import FwCfg
from bimetal.firmware.devicetree import Node
from bimetal.firmware.opensbi import dynamic_info, reset_code
from bimetal.firmware.processors import RISCV
from bimetal.firmware.program import Program, Segment
from bimetal.firmware.sbi import Sbi, SbiConsole
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS
from bimetal.machine.cpus import CpuControl
from bimetal.machine.hardware import Firmware
from bimetal.memory.ram import Ram
from bimetal.seam import Cpu

__all__ = ["RiscvBoot"]

MACHINE = 3


class RiscvBoot:
    """Start of a board whose RAM begins at ``ram_at``, whose reset ROM is ``rom`` at ``rom_at``,
    and whose first flash bank lies at ``flash_at``; ``describe`` makes its device tree."""

    hypervisor = False

    def __init__(
        self,
        chassis: Chassis,
        *,
        ram_at: int,
        rom: Ram,
        rom_at: int,
        flash_at: int,
        fw_cfg: FwCfg,
        console: SbiConsole,
        describe: Callable[[], Node],
    ):
        self._config = chassis.config
        layout = Layout(ram_at, firmware_at=ram_at)
        self._software = Software(chassis, RISCV, layout, describe)
        self._flash_at = flash_at
        self._rom, self._rom_at = rom, rom_at
        self._fw_cfg = fw_cfg
        self._tree_at = self._entry = 0
        self.firmware_calls = chassis.config.bios is None
        self.moved: Mapping[str, int] = {}
        self.unused = (0, 0)
        self._chassis, self._console = chassis, console

    # See Boot

    def load(self) -> None:
        loaded = self._software.load(*self._reset_code(0, 0, 0))
        self._tree_at = loaded.tree_at
        self.moved, self.unused = loaded.moved, loaded.unused
        self._entry = loaded.kernel.entry if loaded.kernel else self._flash_at
        if loaded.firmware is not None:
            for code in self._reset_code(loaded.firmware.entry, self._tree_at, self._entry):
                for segment in code.segments:
                    with memoryview(self._rom.bytes)[: segment.size] as part:
                        segment.copy_to(part)
            self._entry = self._rom_at
        if self._config.flash:
            self._software.tell_firmware(self._fw_cfg)

    def device_tree(self) -> bytes:
        return self._software.device_tree()

    def enter(self, cpu: Cpu) -> bool:
        if self.firmware_calls:
            enter_supervisor(cpu, self._entry, self._tree_at)
            return cpu.index == 0
        for name, value in (
            ("priv", MACHINE),
            ("pc", self._entry),
            ("a0", cpu.index),
            ("a1", self._tree_at),
        ):
            cpu.write_register(name, value)
        return True

    def firmware(self, cpus: CpuControl) -> Firmware:
        return Sbi(BoardHarts(self._chassis, cpus), self._console, self._chassis.space).call

    def _reset_code(self, firmware: int, tree: int, following: int) -> list[Program]:
        """What harts execute to enter the firmware, if there is some to enter."""
        if self._config.bios in (None, NO_BIOS):
            return []
        code = reset_code(firmware, tree, dynamic_info(following))
        return [Program("the reset code", (Segment(self._rom_at, code, len(code)),), self._rom_at)]
