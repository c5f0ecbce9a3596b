"""How an x86 board without firmware starts: straight into a Linux kernel.

* A bzImage is entered in 64-bit mode, or in 32-bit mode if it is for 32 bits, by the Linux boot
  protocol.
* An uncompressed kernel (ELF) is entered in 32-bit mode, by PVH.

CPU 0 enters the kernel; the others wait for the kernel's start-up interrupts.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import GIB, KIB, MIB
from bimetal.boards.x86_apics import StartedCpus
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.firmware.acpi.devices import AcpiDevice
from bimetal.firmware.acpi.image import TableImage
from bimetal.firmware.acpi.x86 import Power, x86_tables
from bimetal.firmware.elf_machine import has_64_bits, is_elf
from bimetal.firmware.linux_x86 import BzImage, is_bzimage, load_bzimage, place_initrd, zero_page
from bimetal.firmware.memory_map import RAM, RESERVED, MemoryArea
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.processors import X86_64
from bimetal.firmware.program import Program, Segment, read_file
from bimetal.firmware.recognise import no_program
from bimetal.firmware.unpack import plain_ramdisk, unpack
from bimetal.firmware.x86_modes import (
    gdt,
    long_mode,
    page_tables,
    protected_mode,
    reset_vector,
)
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS, RAW
from bimetal.machine.cpus import CpuControl
from bimetal.machine.hardware import Firmware
from bimetal.seam import Cpu

__all__ = ["HOLE", "HOLE_END", "X86Boot"]

HOLE, HOLE_END = 3 * GIB, 4 * GIB
"""The range without RAM, for devices and interrupt controllers."""

GDT, START_INFO, ZERO_PAGE, PAGE_TABLES, COMMAND_LINE = 0x500, 0x6000, 0x7000, 0x9000, 0x2_0000
COMMAND_LINE_LIMIT = 64 * KIB
PROGRAMS = 1 * MIB
"""Where programs begin, above what a PC has below."""
LOW_END, LOW_RESERVED_END = 0x9_FC00, 0xA_0000
TABLES, TABLES_SIZE = 0xE_0000, 128 * KIB
RESET_VECTOR = 0xF_FFF0
KVM_PAGES, KVM_PAGES_SIZE = 0xFFFB_C000, 16 * KIB
"""What KVM takes for itself on some Intel processors."""


class Entry(Struct, frozen=True):
    """The registers with which CPU 0 begins, in the order in which they can be set."""

    registers: dict[str, int]


class X86Boot:
    """Start of a board whose RAM is below `HOLE` and, as far as it is more, above `HOLE_END`.

    ``power`` and ``devices`` are what the ACPI tables tell of it; ``century`` see `x86_tables`;
    ``apics`` connects the local APICs that the board has itself.
    """

    firmware_calls = hypervisor = False
    moved: Mapping[str, int] = {}
    unused = (0, 0)

    def __init__(
        self,
        chassis: Chassis,
        power: Power,
        devices: list[AcpiDevice],
        century: int,
        apics: ApicBus,
    ):
        self._apics = apics
        self._chassis, self._config = chassis, chassis.config
        self._power, self._devices, self._century = power, devices, century
        self._entry = Entry({})
        self._ramdisk: bytes | None = None

    # See Boot

    def load(self) -> None:
        config = self._config
        if config.dtb or config.dtb_overlays:
            raise self._no_tree()
        if config.bios not in (None, NO_BIOS) or config.flash or config.kernel is None:
            raise BimetalError(
                "this board starts kernels itself and has no place for firmware",
                "give it a kernel, and neither bios nor flash",
                ExitCode.USAGE,
            )
        if config.kernel_format == RAW:
            raise BimetalError(
                "this board starts no raw binaries",
                "give it a bzImage (vmlinuz) or an ELF file with a PVH entry point",
                ExitCode.USAGE,
            )
        name = f"the kernel {config.kernel}"
        kernel = unpack(read_file(config.kernel, "kernel"), name, X86_64.target, config.memory)
        self._ramdisk = kernel.ramdisk
        described = x86_tables(config.cpus, self._power, self._devices, self._century)
        tables = TableImage(described).at(TABLES)
        if is_bzimage(kernel.data):
            linux = load_bzimage(kernel.data, name)
            self._check_mode(name, linux.long)
            self._load_linux(linux, tables.rsdp)
        elif is_elf(kernel.data):
            self._check_mode(name, has_64_bits(kernel.data))
            load = late("bimetal.firmware.pvh:load_pvh")
            self._load_pvh(load(kernel.data, name, self._room()), tables.rsdp)
        else:
            raise no_program(
                kernel.data,
                name,
                "a kernel for this board (a bzImage or ELF)",
                "give it a bzImage (vmlinuz) or an ELF file with a PVH entry point",
            )
        self._place("the ACPI tables", tables.segment)
        self._place("the reset vector", reset_vector(RESET_VECTOR, self._power))

    def _check_mode(self, name: str, long: bool) -> None:
        """Raise `BimetalError` for a kernel that needs long mode and would stop in silence."""
        if long and self._chassis.processor.bits < 64:
            raise BimetalError(
                f"{name} is for 64 bits, and this processor has no long mode (lm)",
                "choose a processor with it (leave '-lm' or '-pae' away), or a kernel for 32 bits, "
                "as of debian-i386",
                ExitCode.USAGE,
            )

    def device_tree(self) -> bytes:
        raise self._no_tree()

    def enter(self, cpu: Cpu) -> bool:
        if cpu.index == 0:
            for name, value in self._entry.registers.items():
                cpu.write_register(name, value)
        return cpu.index == 0

    def firmware(self, cpus: CpuControl) -> Firmware:
        self._apics.processors = StartedCpus(cpus)
        return _no_calls

    # What is loaded

    def _load_linux(self, kernel: BzImage, rsdp: int) -> None:
        kernel.program.load(self._room())
        self._command_line(kernel.command_line_limit)
        page = zero_page(
            kernel,
            self.memory_map(),
            command_line_at=COMMAND_LINE,
            initrd=self._initrd(kernel.program, kernel.initrd_limit),
            rsdp=rsdp,
        )
        self._place("the zero page", Segment(ZERO_PAGE, page, len(page)))
        if kernel.long:
            self._place("the start-up tables", gdt(GDT, long=True), page_tables(PAGE_TABLES))
            registers = long_mode(GDT, PAGE_TABLES)
        else:
            self._place("the start-up tables", gdt(GDT, long=False))
            registers = protected_mode(GDT)
        self._entry = Entry({**registers, "rip": kernel.program.entry, "rsi": ZERO_PAGE})

    def _load_pvh(self, kernel: Program, rsdp: int) -> None:
        kernel.load(self._room())
        self._command_line(COMMAND_LINE_LIMIT - 1)
        start_info = late("bimetal.firmware.pvh:start_info")
        info = start_info(
            START_INFO,
            self.memory_map(),
            command_line_at=COMMAND_LINE,
            initrd=self._initrd(kernel, HOLE - 1),
            rsdp=rsdp,
        )
        self._place("the start info", Segment(START_INFO, info, len(info)))
        self._place("the start-up tables", gdt(GDT, long=False))
        self._entry = Entry({**protected_mode(GDT), "rip": kernel.entry, "rbx": START_INFO})

    def _command_line(self, limit: int) -> None:
        # The user's words come last: of two that contradict each other Linux takes the last one.
        text = self._config.command_line
        if told := self._chassis.processor.linux.encode():
            text = told + b" " + text
        limit = min(limit, COMMAND_LINE_LIMIT - 1)
        if len(text) > limit:
            raise BimetalError(
                f"the command line has {len(text)} bytes, the kernel takes {limit}",
                "shorten it",
                ExitCode.USAGE,
            )
        self._place("the command line", Segment(COMMAND_LINE, text + b"\0", len(text) + 1))

    def _initrd(self, kernel: Program, limit: int) -> Program | None:
        if self._config.initrd:
            name = f"the initrd {self._config.initrd}"
            data = plain_ramdisk(read_file(self._config.initrd, "initrd"), name)
        elif self._ramdisk:
            name, data = f"the ramdisk in {kernel.name}", self._ramdisk
        else:
            return None
        top, limit = min(self._config.memory, HOLE), min(limit, HOLE - 1)
        initrd = place_initrd(data, name, kernel, top, limit)
        initrd.load(self._room())
        return initrd

    def _place(self, what: str, *segments: Segment) -> None:
        Program(what, segments, 0).load(self._room())

    def _room(self) -> MemoryRoom:
        return MemoryRoom(self._chassis.space, PROGRAMS)

    @staticmethod
    def _no_tree() -> BimetalError:
        return BimetalError(
            "this board has no device tree; its kernels read ACPI tables",
            "leave the options for device trees away, or choose another board",
            ExitCode.USAGE,
        )

    def memory_map(self) -> list[MemoryArea]:
        """What the kernel is told of memory."""
        low, high = min(self._config.memory, HOLE), max(self._config.memory - HOLE, 0)
        areas = [
            MemoryArea(0, LOW_END, RAM),
            MemoryArea(LOW_END, LOW_RESERVED_END - LOW_END, RESERVED),
            MemoryArea(TABLES, TABLES_SIZE, RESERVED),
            MemoryArea(1 * MIB, low - 1 * MIB, RAM),
            MemoryArea(KVM_PAGES, KVM_PAGES_SIZE, RESERVED),
            MemoryArea(HOLE_END, high, RAM),
        ]
        return [area for area in areas if area.size]


def _no_calls(cpu: int, args: tuple[int, ...]) -> tuple[int, ...]:
    raise RuntimeError("x86 CPUs have no calls to firmware")
