"""How a RISC-V board starts: with the machine's own SBI, with firmware, or with neither.

* Without ``bios`` the machine is its own firmware: hart 0 enters the kernel in S-mode, the others
  wait until the kernel starts them by SBI calls.
* With ``bios`` all harts run that firmware in M-mode from reset; it finds a kernel where QEMU puts
  it, and OpenSBI's ``fw_dynamic`` is told about it.
* With ``bios="none"`` all harts run the kernel itself in M-mode.

With a flash image, what is in flash takes the place of the kernel; it finds the kernel by fw_cfg.
"""

from __future__ import annotations

import itertools
import os

from bimetal.base.bits import align_down, align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import GIB, MIB, format_size
from bimetal.boards.riscv_harts import BoardHarts, enter_supervisor
from bimetal.boards.riscv_tree import describe_board
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.firmware.compression import decompress
from bimetal.firmware.devicetree import cells, flatten
from bimetal.firmware.kernel import load_raw, load_riscv_firmware, load_riscv_kernel
from bimetal.firmware.opensbi import dynamic_info, reset_code
from bimetal.firmware.program import Program, Segment, read_file
from bimetal.firmware.sbi import Sbi, SbiConsole
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS, RAW
from bimetal.memory.ram import Ram
from bimetal.seam import Cpu

__all__ = ["RiscvBoot"]

MACHINE = 3
KERNEL_OFFSET = 2 * MIB
"""Where a kernel without a place of its own goes, from the start of RAM."""

TREE_ALIGNMENT = 2 * MIB
TREE_LIMIT = 3 * GIB
"""The device tree stays below, for firmware that uses 32-bit addresses."""

INITRD_DISTANCE = 128 * MIB
"""From the start of the kernel, or half the RAM if that is less: room to unpack things."""

SEED_BYTES = 32


class RiscvBoot:
    """Start of a board whose RAM begins at ``ram_at``, whose reset ROM is ``rom`` at ``rom_at``,
    and whose first flash bank lies at ``flash_at``."""

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
        model: str,
    ):
        self._chassis, self._config = chassis, chassis.config
        self._ram_at, self._flash_at = ram_at, flash_at
        self._rom, self._rom_at = rom, rom_at
        self._ram_end = ram_at + chassis.config.memory
        self._fw_cfg, self._model = fw_cfg, model
        self._tree_at = self._entry = 0
        self.firmware_calls = self._config.bios is None
        self._sbi = Sbi(BoardHarts(chassis), console, chassis.space)

    # See Boot

    def load(self) -> None:
        in_flash = bool(self._config.flash)
        kernel = None if in_flash else self._kernel()
        initrd = self._initrd(kernel) if kernel and self._config.initrd else None
        tree = self._tree(initrd)
        self._tree_at = align_down(min(self._ram_end, TREE_LIMIT) - len(tree), TREE_ALIGNMENT)
        table = Program("the device tree", (Segment(self._tree_at, tree, len(tree)),), 0)
        firmware = self._firmware()
        programs = [each for each in (firmware, kernel, initrd, table) if each is not None]
        self._check_room(programs)
        for program in programs:
            program.load(self._chassis.space)
        self._start_with(firmware, kernel)
        if in_flash:
            self._tell_firmware()

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

    def call(self, cpu: int, args: tuple[int, ...]) -> tuple[int, ...]:
        return self._sbi.call(cpu, args)

    # What is loaded

    def _kernel(self) -> Program | None:
        if self._config.kernel is None:
            return None
        if self._config.kernel_format == RAW:
            offset = 0 if self._config.bios == NO_BIOS else KERNEL_OFFSET
            return load_raw(self._config.kernel, "kernel", self._ram_at + offset)
        return load_riscv_kernel(self._config.kernel, self._ram_at)

    def _firmware(self) -> Program | None:
        if self._config.bios in (None, NO_BIOS):
            return None
        return load_riscv_firmware(str(self._config.bios), self._ram_at)

    def _initrd(self, kernel: Program) -> Program:
        name = str(self._config.initrd)
        data = read_file(name, "initrd")
        distance = min(self._config.memory // 2, INITRD_DISTANCE)
        address = align_up(max(kernel.end, kernel.start + distance), TREE_ALIGNMENT)
        if address + len(data) > self._ram_end - TREE_ALIGNMENT:
            address = align_up(kernel.end, TREE_ALIGNMENT)
        return Program(f"the initrd {name}", (Segment(address, data, len(data)),), 0)

    def _tree(self, initrd: Program | None) -> bytes:
        root = describe_board(self._chassis, self._ram_at, self._model)
        chosen = next(node for node in root.children if node.name == "chosen")
        chosen["bootargs"] = self._config.append
        chosen["rng-seed"] = os.urandom(SEED_BYTES)
        if initrd is not None:
            chosen["linux,initrd-start"] = cells(initrd.start)
            chosen["linux,initrd-end"] = cells(initrd.end)
        return flatten(root)

    def _check_room(self, programs: list[Program]) -> None:
        """Raise `BimetalError` if two programs would lie in the same place, or one outside."""
        ordered = sorted(programs, key=lambda program: program.start)
        for program, following in itertools.pairwise(ordered):
            if program.end > following.start:
                needed = sum(each.end - each.start for each in programs) + 2 * TREE_ALIGNMENT
                raise BimetalError(
                    f"{program.name} and {following.name} do not fit into "
                    f"{format_size(self._config.memory)} of memory together",
                    f"give at least {format_size(align_up(needed + KERNEL_OFFSET, 16 * MIB))}",
                    ExitCode.DATA,
                )

    def _start_with(self, firmware: Program | None, kernel: Program | None) -> None:
        """Find out where the harts begin."""
        next_address = kernel.entry if kernel else self._flash_at
        if firmware is None:
            self._entry = next_address
            return
        self._entry = self._rom_at
        code = reset_code(firmware.entry, self._tree_at, dynamic_info(next_address))
        self._rom.bytes[: len(code)] = code

    def _tell_firmware(self) -> None:
        """Firmware in flash finds the kernel by fw_cfg, as it does under QEMU."""
        add, config = self._fw_cfg.add, self._config
        if config.kernel:
            kernel = decompress(read_file(config.kernel, "kernel"), f"the kernel {config.kernel}")
            add(Item.KERNEL_SIZE, len(kernel))
            add(Item.KERNEL_DATA, kernel)
            command_line = config.append.encode() + b"\0"
            add(Item.COMMAND_LINE_SIZE, len(command_line))
            add(Item.COMMAND_LINE, command_line)
        if config.initrd:
            initrd = read_file(config.initrd, "initrd")
            add(Item.INITRD_SIZE, len(initrd))
            add(Item.INITRD_DATA, initrd)
