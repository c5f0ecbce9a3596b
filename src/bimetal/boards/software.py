"""What is loaded into the memory of a board with a device tree, and where: kernel, firmware,
initial file system, device tree. Firmware in flash finds the first three by fw_cfg instead.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping

from msgspec import Struct

from bimetal.base.bits import align_down, align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import GIB, MIB, format_size
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.firmware.boot_tree import (
    add_overlay,
    load_tree,
    set_chosen,
    set_memory,
    unpacked_tree,
)
from bimetal.firmware.contents import FileContents
from bimetal.firmware.devicetree import DeviceTree, Node
from bimetal.firmware.flat_tree import flatten, read_tree
from bimetal.firmware.kernel import Kernel, load_firmware, load_kernel, load_raw
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.overlay import apply_overlay
from bimetal.firmware.processors import FlatProcessor
from bimetal.firmware.program import Program, Segment, read_file
from bimetal.firmware.uimage import HEADER_SIZE, is_uimage
from bimetal.firmware.unpack import plain_ramdisk, unpack_for_firmware
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS, RAW

__all__ = ["Layout", "Loaded", "Software"]

TREE_ALIGNMENT = 2 * MIB
TREE_SIZE = 2 * MIB
"""What kernels map of a device tree."""
TREE_LIMIT = 3 * GIB
"""The device tree stays below, for firmware that uses 32-bit addresses."""

INITRD_DISTANCE = 128 * MIB
"""From the start of the kernel, or half the RAM if that is less: room to unpack things."""

SEED_BYTES = 32


class Layout(Struct, frozen=True):
    """Where things lie: RAM begins at ``ram_at``, a kernel without a place of its own goes
    ``kernel_offset`` into it, and firmware without one to ``firmware_at``, or into flash if that is
    None. Firmware in flash expects the device tree at ``flash_tree_at``, if that is said."""

    ram_at: int
    firmware_at: int | None = None
    flash_tree_at: int | None = None
    kernel_offset: int = 2 * MIB


class Loaded(Struct, frozen=True):
    """What was loaded; each may be missing but the tree, whose address is ``tree_at``.

    ``moved`` and ``unused`` are as in `Boot`."""

    kernel: Program | None
    firmware: Program | None
    tree_at: int
    moved: Mapping[str, int]
    unused: tuple[int, int]


class Software:
    """The files that the user gave for a board of ``processor``; ``describe`` makes its tree."""

    def __init__(
        self,
        chassis: Chassis,
        processor: FlatProcessor,
        layout: Layout,
        describe: Callable[[], Node],
    ):
        self._chassis, self._config = chassis, chassis.config
        self._processor, self._layout, self._describe = processor, layout, describe
        self._ram_at, self._ram_end = layout.ram_at, layout.ram_at + chassis.config.memory

    @property
    def starts_in_flash(self) -> bool:
        """Whether firmware in flash starts the machine, to which kernel and initrd are left."""
        own = self._config.bios not in (None, NO_BIOS)
        return bool(self._config.flash) or (own and self._layout.firmware_at is None)

    def load(self, *others: Program) -> Loaded:
        """Put all into memory. Raises `BimetalError`, also for what would lie over ``others``."""
        room = MemoryRoom(self._chassis.space, self._ram_at)
        kernel, initrd = self._kernel_and_initrd(room)
        table = self._table(self._tree(kernel, initrd, os.urandom(SEED_BYTES)))
        firmware = self._firmware(room)
        program = kernel.program if kernel else None
        programs = [each for each in (firmware, program, initrd, table) if each is not None]
        self._check_overlap([*programs, *others], [each for each in (initrd, table) if each])
        for each in programs:
            each.load(room)
        paths = {self._config.kernel: program, self._config.bios: firmware}
        moved = {path: each.moved for path, each in paths.items() if path and each}
        return Loaded(program, firmware, table.start, moved, self._unused(programs))

    def _unused(self, programs: list[Program]) -> tuple[int, int]:
        """The largest stretch of RAM without any of ``programs``, from a multiple of 16 bytes to
        another."""
        taken = sorted(
            (each.address, each.end) for program in programs for each in program.segments
        )
        gaps, free = [], self._ram_at
        for start, end in (*taken, (self._ram_end, self._ram_end)):
            end_of_gap = min(max(start, free), self._ram_end)
            gaps.append((align_up(free, 16), align_down(end_of_gap, 16)))
            free = max(free, end)
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    def tell_firmware(self, fw_cfg: FwCfg) -> None:
        """Let firmware find the kernel by fw_cfg, as it does under QEMU. Raises `BimetalError`."""
        config = self._config
        if config.kernel:
            name = f"the kernel {config.kernel}"
            kernel = unpack_for_firmware(read_file(config.kernel, "kernel"), name, config.memory)
            fw_cfg.add(Item.KERNEL_SIZE, len(kernel))
            fw_cfg.add(Item.KERNEL_DATA, kernel)
            command_line = config.command_line + b"\0"
            fw_cfg.add(Item.COMMAND_LINE_SIZE, len(command_line))
            fw_cfg.add(Item.COMMAND_LINE, command_line)
        if config.initrd:
            initrd = self._initrd_data()
            fw_cfg.add(Item.INITRD_SIZE, len(initrd))
            fw_cfg.add(Item.INITRD_DATA, initrd)

    def device_tree(self) -> bytes:
        """The tree as a blob, but for the randomness that each start has of its own."""
        kernel, initrd = self._kernel_and_initrd(MemoryRoom(self._chassis.space, self._ram_at))
        return flatten(self._tree(kernel, initrd, b""))

    def _initrd_data(self) -> bytes:
        """The initial file system that the user gave. Raises `BimetalError`."""
        name = str(self._config.initrd)
        return plain_ramdisk(read_file(name, "initrd"), f"the initrd {name}")

    def _initrd_contents(self) -> FileContents | bytes:
        """The same, read when it is put into memory if nothing is to be done to it."""
        path = str(self._config.initrd)
        contents = FileContents.of(path, f"the initrd {path}")
        if contents is None or is_uimage(contents[:HEADER_SIZE]):
            return self._initrd_data()
        return contents

    def _kernel_and_initrd(self, room: MemoryRoom) -> tuple[Kernel | None, Program | None]:
        if self.starts_in_flash or self._config.kernel is None:
            return None, None
        kernel = self._kernel(self._config.kernel, room)
        return kernel, self._initrd(kernel)

    def _kernel(self, path: str, room: MemoryRoom) -> Kernel:
        bare = self._config.bios == NO_BIOS
        home = self._ram_at + (0 if bare else self._layout.kernel_offset)
        if self._config.kernel_format == RAW:
            return Kernel(load_raw(path, "kernel", home))
        return load_kernel(path, self._processor, room, home)

    def _firmware(self, room: MemoryRoom) -> Program | None:
        bios, home = self._config.bios, self._layout.firmware_at
        if bios in (None, NO_BIOS) or home is None:
            return None
        return load_firmware(str(bios), self._processor, room, home)

    def _initrd(self, kernel: Kernel) -> Program | None:
        if self._config.initrd:
            name, data = f"the initrd {self._config.initrd}", self._initrd_contents()
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
            tree = read_tree(flatten(self._describe()), "the own tree")
        set_memory(tree, self._ram_at, self._config.memory)
        for overlay in () if self._config.dtb else packed[1:]:
            apply_overlay(tree, unpacked_tree(overlay, name), name)
        for path in self._config.dtb_overlays:
            add_overlay(tree, path)
        set_chosen(tree, self._config.command_line, initrd, seed)
        return tree

    def _table(self, tree: DeviceTree) -> Program:
        """The tree as it lies in memory: where firmware looks for it, or else high up."""
        data, at = flatten(tree), self._layout.flash_tree_at
        if len(data) > TREE_SIZE:
            raise BimetalError(
                f"the device tree has {len(data)} bytes, and kernels map {format_size(TREE_SIZE)}",
                "leave something of it away",
                ExitCode.DATA,
            )
        if at is None or not self.starts_in_flash:
            at = align_down(min(self._ram_end, TREE_LIMIT) - len(data), TREE_ALIGNMENT)
        return Program("the device tree", (Segment(at, data, len(data)),), 0)

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
                remedy += f"-Wl,-Ttext={self._ram_at + self._layout.kernel_offset:#x}"
            raise BimetalError(f"{program.name} and {other.name} {cause}", remedy, ExitCode.DATA)

    def _enough(self, programs: list[Program], movable: list[Program]) -> int:
        """Memory that has room for all ``movable`` behind all others."""
        ends = [self._in_ram(each)[1] for each in programs if each not in movable]
        fixed = max(ends, default=self._ram_at)
        behind = sum(align_up(each.end - each.start, TREE_ALIGNMENT) for each in movable)
        return align_up(fixed - self._ram_at + behind + 2 * TREE_ALIGNMENT, 16 * MIB)
