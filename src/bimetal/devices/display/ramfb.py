"""A frame buffer in guest memory: firmware allocates it and writes its address to a file of fw_cfg.

As QEMU's ramfb, of which there is no more documentation than its source, hw/display/ramfb.c, and
the drivers of EDK II (OvmfPkg/QemuRamfbDxe) and U-Boot: the file ``etc/ramfb`` has 28 bytes, all
big-endian. The formats are those of Linux, include/uapi/drm/drm_fourcc.h.
"""

from __future__ import annotations

from struct import Struct

from bimetal.base.errors import GuestError
from bimetal.memory.space import AddressSpace, BadAddress
from bimetal.screen.pixels import BGRX, RGB565, PixelFormat, ordered
from bimetal.screen.screen import Screen
from bimetal.screen.surface import Surface, fits

__all__ = ["FILE", "FILE_SIZE", "Ramfb"]

FILE = "etc/ramfb"
"""Its name in the directory of fw_cfg."""

_CONFIG = Struct(">QIIIII")
"""Address, format, flags (of which there are none), width, height, bytes from a row to the next."""

FILE_SIZE = _CONFIG.size


def _fourcc(name: bytes) -> int:
    return int.from_bytes(name, "little")


FORMATS: dict[int, PixelFormat] = {
    _fourcc(b"XR24"): BGRX,
    _fourcc(b"AR24"): BGRX,
    _fourcc(b"XB24"): ordered(4, 2, 1, 0),
    _fourcc(b"AB24"): ordered(4, 2, 1, 0),
    _fourcc(b"RG24"): ordered(3, 0, 1, 2),
    _fourcc(b"BG24"): ordered(3, 2, 1, 0),
    _fourcc(b"RG16"): RGB565,
}


class Ramfb:
    """The frame buffer in ``space``, and its ``screen``. All that it knows is in its file, which
    fw_cfg keeps."""

    def __init__(self, space: AddressSpace):
        self._space = space
        self._shown: tuple[int, int, int, int, PixelFormat] | None = None
        """Address, width, height, bytes from a row to the next, and format."""
        self.screen = Screen(self._surface)

    def configured(self, content: bytes) -> None:
        """The guest has written ``content`` into the file. Raises `GuestError` for what cannot be
        shown, and then nothing is."""
        self._shown = None
        address, fourcc, _, width, height, stride = _CONFIG.unpack(content)
        if not any(content):
            return  # as it was before anybody wrote to it
        format = FORMATS.get(fourcc)
        if format is None:
            raise GuestError("a frame buffer of an unknown format")
        if not fits(width, height):
            raise GuestError("a frame buffer of an impossible size")
        stride = stride or width * format.size
        if stride < width * format.size:
            raise GuestError("the rows of a frame buffer overlap")
        self._shown = address, width, height, stride, format
        if self._surface() is None:
            self._shown = None
            raise GuestError("a frame buffer outside of memory")

    def _surface(self) -> Surface | None:
        if self._shown is None:
            return None
        address, width, height, stride, format = self._shown
        length = stride * (height - 1) + width * format.size
        try:
            memory = self._space.view(address, length)
        except BadAddress:
            return None
        return Surface(width, height, stride, format, memory)
