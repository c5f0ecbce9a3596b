"""A bank of NOR flash with the Intel command set (CFI 0001), as boards map it for firmware.

While the bank is in *read array* mode the CPUs read its array as memory. A write is a command
(Intel StrataFlash J3 data sheet, section "Command definitions") and takes the array away until
the command 0xFF brings it back. Programming and erasing take no time.

Two chips of 16 bits stand side by side: each gets the command in its half of the word, and
answers in its half. Software gives both the same command, so only the low half is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from bimetal.base.bits import align_down
from bimetal.base.errors import GuestError
from bimetal.base.state import BadState
from bimetal.devices.device import Device, Property
from bimetal.devices.flash.cfi import Geometry, cfi_table
from bimetal.devices.output import Out
from bimetal.devices.virtio.disk import ComingDisk
from bimetal.memory.access import Access
from bimetal.memory.contents import Area, Stored, Stretch
from bimetal.memory.ram import Ram

__all__ = ["FlashStore", "PFlash"]

MANUFACTURER, CHIP = 0x89, 0x18
READY, ERASE_ERROR, PROGRAM_ERROR, SEQUENCE_ERROR, LOCKED = 0x80, 0x20, 0x10, 0x30, 0x02
ERASED = 0xFF


class FlashStore(Protocol):
    """Where the contents of a flash outlive the machine; the block back ends are such stores."""

    size: int
    readonly: bool

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at ``offset``. Raises OSError."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Keep ``data`` at ``offset``. Raises OSError."""

    def flush(self) -> None:
        """Return once all that was written is safe. Raises OSError."""

    def close(self) -> None:
        """Give it back. Idempotent."""


class PFlash(Device):
    """A bank of ``geometry`` that starts with what ``store`` holds and writes every change there.

    A store that is smaller must be read-only; the rest of the bank is erased then, and the guest's
    writes fail as those to a locked chip. ``direct`` says whether CPUs may read `direct_memory`
    themselves.

    Without a store the bank starts erased and forgets. It then has no ``direct_memory``: nothing
    runs from an erased chip, and its 32 MiB of ones are made only when they are changed.
    """

    kind = node_name = "flash"
    compatible = ("cfi-flash",)
    acpi = ("LNRO0015", "FLS")
    saved = ("mode", "status", "locked_blocks", "_step", "_buffer", "_buffer_left")
    fixed = ("geometry", "store", "_cfi", "direct_memory")
    derived = ("_contents",)

    direct = Out()

    def __init__(self, geometry: Geometry, store: FlashStore | None = None):
        self.geometry, self.store = geometry, store
        self.mmio_size = geometry.size
        self.access = Access(width=geometry.width)
        if store is not None and not store.readonly and store.size != geometry.size:
            raise ValueError(f"a store of {store.size} bytes for a flash of {geometry.size}")
        self._cfi = cfi_table(geometry)
        self.mode = "array"
        self.status = READY
        self.locked_blocks: set[int] = set()
        self._step = "command"
        self._buffer: dict[int, tuple[int, int]] = {}
        self._buffer_left = 0
        super().__init__()
        self.direct_memory: Ram | None = None
        self._contents: memoryview | None = None
        if store is not None:
            self.direct_memory = Ram("flash", geometry.size, readonly=True)
            self._contents = self.direct_memory.bytes
            kept = store.read(0, min(store.size, geometry.size))
            self._contents[: len(kept)] = kept
            self._contents[len(kept) :] = bytes((ERASED,)) * (geometry.size - len(kept))
            self.direct(True)

    def properties(self) -> Mapping[str, Property]:
        return {"bank-width": self.geometry.width}

    def rename(self, name: str) -> None:
        super().rename(name)
        if self.direct_memory is not None:
            self.direct_memory.name = name

    def reset(self) -> None:
        super().reset()
        self.locked_blocks.clear()
        self.status = READY
        self._enter("array")

    def save(self) -> dict[str, Any]:
        return {**super().save(), "blank": self._contents is None}

    def load(self, state: Mapping[str, Any]) -> None:
        if state.get("blank"):
            self._contents = None
        else:
            self._contents = self._array
        super().load(state)

    def restored(self) -> None:
        if self._step not in self._steps:
            raise BadState(f"a flash has no step {self._step!r:.40}")

    def areas(self) -> Mapping[str, Area]:
        return {} if self._contents is None else {"contents": Stretch(self._contents)}

    def stored(self) -> Iterable[Stored]:
        return (self.store,) if isinstance(self.store, Stored) else ()

    def come_here(self) -> None:
        store: Any = self.store
        if isinstance(store, ComingDisk):
            coming: Any = store.come()
            self.store = coming

    def settle(self) -> None:
        store: object = self.store
        if isinstance(store, Stored):
            try:
                store.rest()
            except OSError as error:
                self.events.host_error("a flash could not be saved", str(error))

    def close(self) -> None:
        self._contents = None
        if self.direct_memory is not None:
            self.direct_memory.close()
        if self.store is not None:
            self.store.close()

    # Accesses

    def read(self, offset: int, size: int) -> int:
        if self.mode == "array":
            if self._contents is None:
                return (1 << 8 * size) - 1
            return int.from_bytes(self._array[offset : offset + size], "little")
        word = offset // self.geometry.width
        if self.mode == "status":
            half = self.status
        elif self.mode == "cfi":
            half = self._cfi[word] if word < len(self._cfi) else 0
        else:
            half = self._identifier(word)
        lanes = sum(half << 16 * chip for chip in range(self.geometry.chips))
        answer = lanes | lanes << 8 * self.geometry.width
        return answer >> 8 * (offset % self.geometry.width) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        try:
            self._steps[self._step](self, offset, size, value)
        except GuestError as error:
            self.guest_error(str(error))

    def _identifier(self, word: int) -> int:
        match word & 0xFF:
            case 0:
                return MANUFACTURER
            case 1:
                return CHIP
            case 2:
                return int(self._block(word * self.geometry.width) in self.locked_blocks)
        return 0

    # Commands: each step names the next one

    def _enter(self, mode: str) -> None:
        self.mode = mode
        self._step = "command"
        self.direct(mode == "array")

    def _await(self, step: str) -> None:
        self._enter("status")
        self._step = step

    def _command(self, offset: int, size: int, value: int) -> None:
        match value & 0xFF:
            case 0xFF | 0xF0 | 0x00:
                self._enter("array")
            case 0x90:
                self._enter("identifier")
            case 0x98:
                self._enter("cfi")
            case 0x70:
                self._enter("status")
            case 0x50:
                self.status = READY
                self._enter("array")
            case 0x10 | 0x40:
                self._await("word")
            case 0x20 | 0x28:
                self._await("erase")
            case 0xE8:
                self._await("count")
            case 0x60:
                self._await("lock")
            case 0xB0 | 0xD0:
                self._enter("status")  # suspend and resume: nothing is ever under way
            case unknown:
                self._enter("array")
                raise GuestError(f"flash command {unknown:#x}")

    def _program_word(self, offset: int, size: int, value: int) -> None:
        self._enter("status")
        self._program({offset: (size, value)})

    def _confirm_erase(self, offset: int, size: int, value: int) -> None:
        self._enter("status")
        if value & 0xFF != 0xD0:
            self.status |= SEQUENCE_ERROR
            raise GuestError("erase of a flash block without confirmation")
        start = align_down(offset, self.geometry.block_size)
        if self._may_change(start, ERASE_ERROR):
            erased = bytes((ERASED,)) * self.geometry.block_size
            self._array[start : start + len(erased)] = erased
            self._keep(start, start + len(erased), ERASE_ERROR)

    def _buffer_count(self, offset: int, size: int, value: int) -> None:
        # Each chip counts the words that it will get, less one; software writes bank words.
        self._buffer.clear()
        self._buffer_left = (value & 0xFFFF) + 1
        if self._buffer_left * self.geometry.width > self.geometry.buffer_size:
            self._enter("status")
            self.status |= SEQUENCE_ERROR
            raise GuestError("a flash buffer that is too long")
        self._await("fill")

    def _fill_buffer(self, offset: int, size: int, value: int) -> None:
        self._buffer[offset] = (size, value)
        self._buffer_left -= 1
        if self._buffer_left == 0:
            self._await("program")

    def _confirm_buffer(self, offset: int, size: int, value: int) -> None:
        self._enter("status")
        if value & 0xFF != 0xD0:
            self.status |= SEQUENCE_ERROR
            raise GuestError("a flash buffer without confirmation")
        self._program(self._buffer)
        self._buffer.clear()

    def _lock(self, offset: int, size: int, value: int) -> None:
        self._enter("status")
        match value & 0xFF:
            case 0x01 | 0x2F:
                self.locked_blocks.add(self._block(offset))
            case 0xD0:
                self.locked_blocks.discard(self._block(offset))
            case unknown:
                self.status |= SEQUENCE_ERROR
                raise GuestError(f"flash lock command {unknown:#x}")

    _steps: ClassVar[Mapping[str, Callable[[PFlash, int, int, int], None]]] = {
        "command": _command,
        "word": _program_word,
        "erase": _confirm_erase,
        "count": _buffer_count,
        "fill": _fill_buffer,
        "program": _confirm_buffer,
        "lock": _lock,
    }
    """What the next write is, by name."""

    # The array

    @property
    def _array(self) -> memoryview:
        if self._contents is None:
            self._contents = memoryview(bytearray((ERASED,)) * self.geometry.size)
        return self._contents

    def _block(self, offset: int) -> int:
        return offset // self.geometry.block_size

    def _may_change(self, offset: int, error: int) -> bool:
        readonly = self.store is not None and self.store.readonly
        if readonly or self._block(offset) in self.locked_blocks:
            self.status |= error | LOCKED
            return False
        return True

    def _program(self, words: Mapping[int, tuple[int, int]]) -> None:
        """Clear the bits that are 0 in ``words``, given by offset as size and value."""
        if len({self._block(offset) for offset in words}) > 1:
            self.status |= PROGRAM_ERROR
            raise GuestError("a flash buffer across two blocks")
        if not self._may_change(min(words), PROGRAM_ERROR):
            return
        for offset, (size, value) in words.items():
            old = int.from_bytes(self._array[offset : offset + size], "little")
            self._array[offset : offset + size] = (old & value).to_bytes(size, "little")
        last = max(words)
        self._keep(min(words), last + words[last][0], PROGRAM_ERROR)

    def _keep(self, start: int, end: int, error: int) -> None:
        if self.store is None:
            return
        try:
            self.store.write(start, self._array[start:end])
            self.store.flush()
        except OSError as failure:
            self.status |= error
            self.events.host_error("a flash could not be saved", str(failure))
