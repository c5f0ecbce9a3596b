"""A vCPU's state in memory shared with native code: registers, engine variables, TLBs."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from contextlib import suppress

from ..codegen.layout import MEMORY_SLOTS, PAGE, Layout
from ..seam import MemorySlot

__all__ = ["VcpuState", "anonymous"]


def anonymous(size: int, executable: bool = False, huge: bool = False) -> tuple[mmap.mmap, int]:
    """Zeroed memory that costs nothing until it is touched, and its address. What is ``huge`` is in
    huge pages of the host from the beginning, if that has any."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE | (mmap.PROT_EXEC if executable else 0)
    area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection)
    if huge:
        with suppress(OSError):
            area.madvise(mmap.MADV_HUGEPAGE)
    return area, ctypes.addressof(ctypes.c_char.from_buffer(area))


class VcpuState:
    """Registers and engine variables by file and index, as unsigned integers."""

    def __init__(self, layout: Layout):
        self.layout = layout
        sizes = {name: layout.slot_bytes(file) for name, file in layout.spec.files.items()}
        self._places = {name: (size, layout.offsets[name] // size) for name, size in sizes.items()}
        self._area, self.address = anonymous(layout.size)
        self._look_at(self._area)

    def _look_at(self, memory: mmap.mmap | bytearray) -> None:
        """Use ``memory`` for the state from now on."""
        whole = memoryview(memory)[: len(memory) // 8 * 8]
        self._views: dict[int, memoryview[int]] = {
            1: whole.cast("B"),
            2: whole.cast("H"),
            4: whole.cast("I"),
            8: whole.cast("Q"),
        }
        self.words = self._views[8]
        self.bytes = self._views[1]

    def close(self) -> None:
        """Free the memory but keep the registers' values: native code must not use it any more.

        Samples and TLBs, which are at its end, are dropped. Idempotent.
        """
        if not self._area.closed:
            views = list(self._views.values())
            self._look_at(bytearray(self._area[: self.layout.offsets["sample"]]))
            for view in views:
                view.release()
            self._area.close()

    def word(self, name: str) -> int:
        """The index of a 64-bit engine variable in `words`."""
        return self.layout.offsets[name] // 8

    def _place(self, file: str, index: int) -> tuple[int, int]:
        size, first = self._places[file]
        return size, first + index

    def get(self, file: str, index: int = 0) -> int:
        """A register's value."""
        size, at = self._place(file, index)
        if size > 8:
            return int.from_bytes(self.bytes[at * size : (at + 1) * size], "little")
        return self._views[size][at]

    def set(self, file: str, index: int, value: int) -> None:
        """Set a register, as `File.admit` says; a zero register stays zero."""
        declared = self.layout.spec.files[file]
        if not 0 <= index < declared.count:
            raise IndexError(f"{file}[{index}] of {declared.count}")
        admitted = declared.admit(value)
        if index == declared.zero:
            return
        size, at = self._place(file, index)
        if size > 8:
            self.bytes[at * size : (at + 1) * size] = admitted.to_bytes(size, "little")
        else:
            self._views[size][at] = admitted

    def set_file(self, file: str, values: Sequence[int]) -> None:
        """Set all registers of a file at once, as `set` does each."""
        size, at = self._place(file, 0)
        end = at + len(values)
        if size > 8 or self._views[size][at:end].tolist() != values:
            for number, value in enumerate(values):
                self.set(file, number, value)

    def set_slots(self, slots: Sequence[MemorySlot]) -> int:
        """Set the memory slots that native code uses from now on; the number of pages in them."""
        page = 0
        for n in range(MEMORY_SLOTS):
            slot = slots[n] if n < len(slots) else MemorySlot(0, 0, 0)
            for name, value in (
                ("slot_base", slot.base),
                ("slot_size", slot.size),
                ("slot_host", slot.host),
                ("slot_readonly", int(slot.readonly)),
                ("slot_page", page),
            ):
                self.set(name, n, value)
            page += slot.size // PAGE
        return page

    def registers(self) -> dict[str, list[int]]:
        """Every architectural register that is saved, by file."""
        files = self.layout.isa.state.saved.values()
        return {file.name: [self.get(file.name, n) for n in range(file.count)] for file in files}
