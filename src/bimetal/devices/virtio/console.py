"""The console device (virtio 1.2, section 5.3) with its one port.

One with several ports (VIRTIO_CONSOLE_F_MULTIPORT) is in `serial`.
"""

from __future__ import annotations

from struct import Struct

from bimetal.base.buffers import pour
from bimetal.devices.chars import Chars
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain, QueueError

__all__ = ["VirtioConsole"]

RECEIVE, TRANSMIT = 0, 1

SIZE, EMERG_WRITE = 1 << 0, 1 << 2
"""Features (5.3.3)."""

_CONFIG = Struct("<HHII")
"""Columns, rows, greatest number of ports, emergency write (5.3.4)."""

EMERGENCY_AT = 8

INPUT_LIMIT = 4096
"""Bytes of input that wait for the driver to give buffers."""

OUTPUT_CHUNK = 64 << 10
"""Bytes handed to the line at once: a guest decides how large its buffers are, we what we copy."""


class VirtioConsole(VirtioDevice):
    """A console at the end of ``line``. ``size``, columns and rows, is that of its terminal, 0 by 0
    if it may be known later; None if it never is."""

    device_id = 3
    queue_limits = (64, 64)
    saved = ("_input",)
    fixed = ("_line",)
    derived = ("_size",)

    def __init__(self, line: Chars, size: tuple[int, int] | None = None):
        super().__init__()
        self.offered = EMERG_WRITE | (0 if size is None else SIZE)
        self._size = size or (0, 0)
        self.config[:] = _CONFIG.pack(*self._size, 1, 0)
        self._line = line
        self._input = bytearray()
        line.connect(self._receive, self._room)

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has a new size; a driver that accepted VIRTIO_CONSOLE_F_SIZE hears of it."""
        self._size = min(columns, 0xFFFF), min(rows, 0xFFFF)
        config = _CONFIG.pack(*self._size, 1, 0)
        if config == self.config:
            return
        self.config[:] = config
        if self.has(SIZE):
            self.config_changed()

    def work_on(self, index: int, chain: Chain) -> Work:
        if index == RECEIVE:
            yield from ()
            return self._fill(chain)
        for buffer in chain.readable:
            for start in range(0, len(buffer), OUTPUT_CHUNK):
                chunk = bytes(buffer[start : start + OUTPUT_CHUNK])
                self._line.write(chunk)
                yield len(chunk)
        return 0

    def has_use_for(self, index: int) -> bool:
        return index == TRANSMIT or bool(self._input)

    def notified(self, index: int) -> None:
        if index == RECEIVE:
            self._line.resume()

    def started(self) -> None:
        self._line.resume()

    def config_written(self, offset: int, data: bytes) -> None:
        if offset == EMERGENCY_AT:
            self._line.write(data[:1])
        else:
            super().config_written(offset, data)

    def reset(self) -> None:
        super().reset()
        self._input.clear()

    def restored(self) -> None:
        super().restored()
        self.resize(*self._size)  # which need not be that of then
        self._line.resume()

    def _room(self) -> int:
        return INPUT_LIMIT - len(self._input) if self.running else 0

    def _receive(self, data: bytes) -> None:
        self._input += data
        self.look(RECEIVE)

    def _fill(self, chain: Chain) -> int:
        """Move input into the buffers of ``chain``; the number of bytes. Raises `QueueError`."""
        if not chain.writable:
            raise QueueError("a buffer for input is not writable")
        return pour(self._input, chain.writable)
