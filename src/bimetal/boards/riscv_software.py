"""What is loaded into the memory of a RISC-V board, and where: kernel, firmware, initial file
system, device tree.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

from bimetal.base.bits import align_down, align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import GIB, MIB, format_size
from bimetal.boards.riscv_tree import describe_board
from bimetal.firmware.boot_tree import (
    add_overlay,
    load_tree,
    set_chosen,
    set_memory,
    unpacked_tree,
)
from bimetal.firmware.devicetree import DeviceTree
from bimetal.firmware.flat_tree import flatten, read_tree
from bimetal.firmware.kernel import Kernel, load_raw, load_riscv_firmware, load_riscv_kernel
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.overlay import apply_overlay
from bimetal.firmware.program import Program, Segment, read_file
from bimetal.firmware.unpack import plain_ramdisk
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS, RAW

__all__ = ["RiscvSoftware"]

KERNEL_OFFSET = 2 * MIB
"""Where a kernel without a place of its own goes, from the start of RAM."""

TREE_ALIGNMENT = 2 * MIB
TREE_SIZE = 2 * MIB
"""What kernels map of a device tree."""
TREE_LIMIT = 3 * GIB
"""The device tree stays below, for firmware that uses 32-bit addresses."""

INITRD_DISTANCE = 128 * MIB
"""From the start of the kernel, or half the RAM if that is less: room to unpack things."""

SEED_BYTES = 32


@dataclass(frozen=True)
class Loaded:
    """What was loaded; each may be missing but the tree, whose address is ``tree_at``."""

    kernel: Program | None
    firmware: Program | None
    tree_at: int


class RiscvSoftware:
    """The files that the user gave for a board whose RAM begins at ``ram_at``."""

    def __init__(self, chassis: Chassis, ram_at: int, model: str):
        self._chassis, self._config = chassis, chassis.config
        self._ram_at, self._ram_end = ram_at, ram_at + chassis.config.memory
        self._model = model

    def load(self, *others: Program) -> Loaded:
        """Put all into memory. Raises `BimetalError`, also for what would lie over ``others``."""
        room = MemoryRoom(self._chassis.space, self._ram_at)
        kernel, initrd = self._kernel_and_initrd(room)
        tree = flatten(self._tree(kernel, initrd, os.urandom(SEED_BYTES)))
        if len(tree) > TREE_SIZE:
            raise BimetalError(
                f"the device tree has {len(tree)} bytes, and kernels map {format_size(TREE_SIZE)}",
                "leave something away in --dtb or --dtb-overlay",
                ExitCode.DATA,
            )
        tree_at = align_down(min(self._ram_end, TREE_LIMIT) - len(tree), TREE_ALIGNMENT)
        table = Program("the device tree", (Segment(tree_at, tree, len(tree)),), 0)
        firmware = self._firmware(room)
        program = kernel.program if kernel else None
        programs = [each for each in (firmware, program, initrd, table) if each is not None]
        self._check_overlap([*programs, *others], [each for each in (initrd, table) if each])
        for each in programs:
            each.load(room)
        return Loaded(program, firmware, tree_at)

    def device_tree(self) -> bytes:
        """The tree as a blob, but for the randomness that each start has of its own."""
        kernel, initrd = self._kernel_and_initrd(MemoryRoom(self._chassis.space, self._ram_at))
        return flatten(self._tree(kernel, initrd, b""))

    def initrd_data(self) -> bytes:
        """The initial file system that the user gave. Raises `BimetalError`."""
        name = str(self._config.initrd)
        return plain_ramdisk(read_file(name, "initrd"), f"the initrd {name}")

    def _kernel_and_initrd(self, room: MemoryRoom) -> tuple[Kernel | None, Program | None]:
        """Both are left to firmware, if that lies in flash."""
        if self._config.flash or self._config.kernel is None:
            return None, None
        kernel = self._kernel(self._config.kernel, room)
        return kernel, self._initrd(kernel)

    def _kernel(self, path: str, room: MemoryRoom) -> Kernel:
        bare = self._config.bios == NO_BIOS
        home = self._ram_at + (0 if bare else KERNEL_OFFSET)
        if self._config.kernel_format == RAW:
            return Kernel(load_raw(path, "kernel", home))
        return load_riscv_kernel(path, room, home)

    def _firmware(self, room: MemoryRoom) -> Program | None:
        if self._config.bios in (None, NO_BIOS):
            return None
        return load_riscv_firmware(str(self._config.bios), room)

    def _initrd(self, kernel: Kernel) -> Program | None:
        if self._config.initrd:
            name, data = f"the initrd {self._config.initrd}", self.initrd_data()
        elif kernel.ramdisk:
            name, data = f"the ramdisk in {kernel.program.name}", kernel.ramdisk
        else:
            return None
        start, end = self._in_ram(kernel.program)
        distance = min(self._config.memory // 2, INITRD_DISTANCE)
        address = align_up(max(end, start + distance), TREE_ALIGNMENT)
        if address + len(data) > self._ram_end - TREE_ALIGNMENT:
            address = align_up(end, TREE_ALIGNMENT)
        return Program(name, (Segment(address, data, len(data)),), 0)

    def _in_ram(self, program: Program) -> tuple[int, int]:
        """What ``program`` takes of the RAM: its first address and the first behind it."""
        inside = [each for each in program.segments if each.address >= self._ram_at]
        if not inside:
            return self._ram_at, self._ram_at
        return min(each.address for each in inside), max(each.end for each in inside)

    def _tree(self, kernel: Kernel | None, initrd: Program | None, seed: bytes) -> DeviceTree:
        packed = kernel.device_trees if kernel else ()
        name = f"the device tree in {kernel.program.name}" if kernel else ""
        if self._config.dtb:
            tree = load_tree(self._config.dtb)
        elif packed:
            tree = unpacked_tree(packed[0], name)
        else:
            tree = read_tree(
                flatten(describe_board(self._chassis, self._ram_at, self._model)), "the own tree"
            )
        set_memory(tree, self._ram_at, self._config.memory)
        for overlay in () if self._config.dtb else packed[1:]:
            apply_overlay(tree, unpacked_tree(overlay, name), name)
        for path in self._config.dtb_overlays:
            add_overlay(tree, path)
        set_chosen(tree, self._config.append, initrd, seed)
        return tree

    def _check_overlap(self, programs: list[Program], movable: list[Program]) -> None:
        """Raise `BimetalError` if two programs would lie in the same place.

        Those that are ``movable`` would lie elsewhere if there were more memory.
        """
        placed = sorted(
            ((segment, program) for program in programs for segment in program.segments),
            key=lambda each: each[0].address,
        )
        for (segment, program), (following, other) in itertools.pairwise(placed):
            if segment.end <= following.address or program is other:
                continue
            if program in movable or other in movable:
                cause = f"do not fit into {format_size(self._config.memory)} of memory together"
                remedy = f"give at least {format_size(self._enough(programs, movable))}"
            else:
                cause = f"would lie over each other at {following.address:#x}"
                remedy = "link them for different places, a kernel behind firmware as with "
                remedy += f"-Wl,-Ttext={self._ram_at + KERNEL_OFFSET:#x}"
            raise BimetalError(f"{program.name} and {other.name} {cause}", remedy, ExitCode.DATA)

    def _enough(self, programs: list[Program], movable: list[Program]) -> int:
        """Memory that has room for all ``movable`` behind all others."""
        ends = [self._in_ram(each)[1] for each in programs if each not in movable]
        fixed = max(ends, default=self._ram_at)
        behind = sum(align_up(each.end - each.start, TREE_ALIGNMENT) for each in movable)
        return align_up(fixed - self._ram_at + behind + 2 * TREE_ALIGNMENT, 16 * MIB)
