"""Frame buffers that hostile guests set up: whatever they say, nothing outside of their memory is
shown, and nothing else happens."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from bimetal.base.errors import GuestError
from bimetal.devices.display.ramfb import FORMATS, Ramfb
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

RAM, SIZE = 0x4000_0000, 0x2_0000
WORD = st.one_of(st.integers(0, 300), st.integers(0, 0xFFFF_FFFF))
ADDRESS = st.one_of(st.integers(RAM - 64, RAM + SIZE), st.integers(0, (1 << 64) - 1))


@given(ADDRESS, st.one_of(st.sampled_from(list(FORMATS)), WORD), WORD, WORD, WORD, WORD)
def test_any_frame_buffer(
    address: int, fourcc: int, flags: int, width: int, height: int, stride: int
) -> None:
    space = AddressSpace()
    space.add_memory(Ram("ram", SIZE), RAM)
    ramfb = Ramfb(space)
    try:
        ramfb.configured(struct.pack(">QIIIII", address, fourcc, flags, width, height, stride))
    except GuestError:
        assert ramfb.screen.surface is None
        return
    shown = ramfb.screen.surface
    if shown is None:
        assert not any((address, fourcc, flags, width, height, stride))
        return
    last = shown.stride * (shown.height - 1) + shown.row_bytes
    assert RAM <= address <= RAM + SIZE - last
    assert len(shown.copy().pixels()) == 4 * width * height
