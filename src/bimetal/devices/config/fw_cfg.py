"""The firmware configuration device: numbered items that the machine hands to its firmware.

Interface as in QEMU's documentation, docs/specs/fw_cfg.rst: a selector and a data port, the DMA
interface, and a directory of named files. Memory-mapped registers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress

from bimetal.base.errors import BimetalError, GuestError
from bimetal.base.state import BadState
from bimetal.devices.device import Device, Property
from bimetal.memory.access import Refused
from bimetal.memory.space import AddressSpace

__all__ = ["FwCfg", "Item"]

DATA, SELECTOR, DMA = 0x00, 0x08, 0x10
DMA_SIGNATURE = b"QEMU CFG"
DMA_ERROR, DMA_READ, DMA_SKIP, DMA_SELECT, DMA_WRITE = 1, 2, 4, 8, 16
FEATURES = 0b11
"""Bit 0: the traditional interface, bit 1: DMA."""

PIECE = 4 << 20
"""Bytes that a DMA request moves before others get a turn; the guest sees that it goes on."""


class Item:
    """The selectors of the items that are not files."""

    SIGNATURE = 0x00
    ID = 0x01
    CPUS = 0x05
    KERNEL_SIZE = 0x08
    INITRD_SIZE = 0x0B
    MAX_CPUS = 0x0F
    KERNEL_DATA = 0x11
    INITRD_DATA = 0x12
    COMMAND_LINE_SIZE = 0x14
    COMMAND_LINE = 0x15
    FILE_DIRECTORY = 0x19
    FIRST_FILE = 0x20


class FwCfg(Device):
    """Items by number, which the machine adds before the guest runs.

    DMA reaches guest memory through ``memory``. Items are read-only for the guest, but for files
    that somebody listens to. ``defer`` has a function called soon, with the machine's lock given up
    in between; without it, whatever a guest asks for is moved at once.
    """

    kind, node_name = "fw_cfg", "fw-cfg"
    compatible = ("qemu,fw-cfg-mmio",)
    acpi = ("QEMU0002", "FWC")
    mmio_size = 0x18
    fixed = ("memory", "_defer", "_listeners")
    saved = ("selected", "position", "dma_high", "under_way", "items", "_files")

    def __init__(
        self,
        memory: AddressSpace,
        defer: Callable[[Callable[[], None]], None] | None = None,
    ):
        self.memory, self._defer = memory, defer
        self.under_way: tuple[int, int, int] | None = None
        """A request that is being carried out: its address, and where to and how much to move."""
        self.items: dict[int, bytes] = {
            Item.SIGNATURE: b"QEMU",
            Item.ID: struct.pack("<I", FEATURES),
        }
        self._files: dict[str, int] = {}
        self._listeners: dict[int, tuple[bytes, Callable[[bytes], None]]] = {}
        """What writable items hold at first, and who is told when the guest has written."""
        self.selected = self.position = self.dma_high = 0
        super().__init__()

    def properties(self) -> Mapping[str, Property]:
        return {"dma-coherent": None}

    def reset(self) -> None:
        super().reset()
        self.selected = self.position = self.dma_high = 0
        self.under_way = None
        for number, (content, _) in self._listeners.items():
            self.items[number] = content
        self._tell_all()

    # What the machine adds

    def add(self, number: int, content: bytes | int) -> None:
        """Give item ``number`` its content; an int is stored in 4 bytes, little-endian."""
        self.items[number] = struct.pack("<I", content) if isinstance(content, int) else content

    def add_file(self, name: str, content: bytes) -> None:
        """Add a file to the directory. Raises `BimetalError` for a name that does not fit."""
        encoded = name.encode()
        if not 0 < len(encoded) < 56:
            raise BimetalError(f"the fw_cfg file name {name!r} is too long", "use at most 55 bytes")
        number = self._files.setdefault(name, Item.FIRST_FILE + len(self._files))
        self.items[number] = content
        directory = struct.pack(">I", len(self._files))
        for each, key in sorted(self._files.items()):
            directory += struct.pack(">IHH56s", len(self.items[key]), key, 0, each.encode())
        self.items[Item.FILE_DIRECTORY] = directory

    def add_writable_file(
        self, name: str, content: bytes, written: Callable[[bytes], None]
    ) -> None:
        """Add a file that the guest may write by DMA, which does not make it longer. ``written`` is
        told the whole content then, and after a reset and a restored snapshot; it may raise
        `GuestError`."""
        self.add_file(name, content)
        self._listeners[self._files[name]] = content, written

    # What the guest does

    def read(self, offset: int, size: int) -> int:
        if offset == DATA:
            return int.from_bytes(self._take(size), "little")
        if DMA <= offset < DMA + 8:
            part = DMA_SIGNATURE[offset - DMA :][:size]
            return int.from_bytes(part, "little")
        raise Refused(f"read of {offset:#x}, where there is nothing to read")

    def write(self, offset: int, size: int, value: int) -> None:
        number = int.from_bytes(value.to_bytes(size, "little"), "big")
        if (offset, size) == (SELECTOR, 2):
            self._select(number)
        elif (offset, size) == (DMA, 4):
            self.dma_high = number
        elif (offset, size) == (DMA + 4, 4):
            self._transfer(self.dma_high << 32 | number)
        elif (offset, size) == (DMA, 8):
            self._transfer(number)
        elif offset == DATA:
            self.guest_error("write to an fw_cfg item")
        else:
            raise Refused(f"write of {size} bytes at {offset:#x}")

    def _select(self, number: int) -> None:
        self.selected, self.position = number, 0

    def _take(self, length: int) -> bytes:
        """The next bytes of the selected item, zeroes after its end."""
        content = self.items.get(self.selected, b"")
        piece = content[self.position : self.position + length]
        self.position = min(self.position + length, len(content))
        return piece.ljust(length, b"\0")

    def _transfer(self, address: int) -> None:
        """Begin with the DMA request at ``address``; its first word says at the end how it went."""
        self.dma_high = 0
        try:
            control, length, target = struct.unpack(">IIQ", self.memory.read(address, 16))
            self.memory.view(address, 4, writable=True).release()
        except GuestError as error:
            self.guest_error("fw_cfg DMA request outside of memory", str(error))
            return
        if self.under_way is not None:
            self.guest_error("an fw_cfg DMA request while another is under way")
            self._answer(address, DMA_ERROR)
            return
        if control & DMA_SELECT:
            self._select(control >> 16)
        if control & DMA_READ:
            self.under_way = address, target, length
            self._move()
        elif control & DMA_WRITE:
            self._answer(address, 0 if self._store(target, length) else DMA_ERROR)
        else:
            if control & DMA_SKIP:
                self._take_nothing(length)
            self._answer(address, 0)

    def _answer(self, request: int, result: int) -> None:
        """Write the first word of a request; memory that went away since it was made is lost."""
        with suppress(GuestError):
            self.memory.write(request, struct.pack(">I", result))

    def _take_nothing(self, length: int) -> None:
        self.position = min(self.position + length, len(self.items.get(self.selected, b"")))

    def _move(self) -> None:
        """Go on with the request that is under way."""
        while self.under_way is not None:
            request, target, left = self.under_way
            try:
                view = self.memory.view(target, left, writable=True)
            except GuestError as error:
                self.guest_error("fw_cfg DMA outside of memory", str(error))
                self.under_way = None
                self._answer(request, DMA_ERROR)
                return
            count = min(PIECE, left)
            view[:count] = self._take(count)
            if count == left:
                self.under_way = None
                self._answer(request, 0)
            else:
                self.under_way = request, target + count, left - count
                if self._defer is not None:
                    self._defer(self._move)
                    return

    def _store(self, source: int, length: int) -> bool:
        """Write ``length`` bytes of guest memory to the selected item, as far as that has room;
        False if the guest may not, or asked for more."""
        number, start = self.selected, self.position
        if number not in self._listeners:
            self.guest_error("write to an fw_cfg item")
            return False
        old = self.items[number]
        if length > len(old) - start:
            self.guest_error("write behind the end of an fw_cfg item")
            return False
        try:
            new = self.memory.read(source, length)
        except GuestError as error:
            self.guest_error("fw_cfg DMA outside of memory", str(error))
            return False
        self.items[number] = old[:start] + new + old[start + length :]
        self.position = start + length
        self._tell(number)
        return True

    def _tell(self, number: int) -> None:
        try:
            self._listeners[number][1](self.items[number])
        except GuestError as error:
            self.guest_error(str(error))

    def _tell_all(self) -> None:
        for number in self._listeners:
            self._tell(number)

    def restored(self) -> None:
        for number, (content, _) in self._listeners.items():
            if len(self.items.get(number, b"")) != len(content):
                raise BadState("the writable files of fw_cfg are others")
        self._tell_all()
        if self.under_way is not None and self._defer is not None:
            self._defer(self._move)
