"""The frame buffer as firmware sets it up, and as a hostile guest does."""

from __future__ import annotations

import struct

import pytest

from bimetal.base.errors import GuestError
from bimetal.devices.config.fw_cfg import FwCfg
from bimetal.devices.display.ramfb import FILE, FILE_SIZE, Ramfb
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

RAM, SIZE = 0x8000_0000, 0x4_0000
XRGB = int.from_bytes(b"XR24", "little")


def config(
    address: int = RAM,
    fourcc: int = XRGB,
    width: int = 16,
    height: int = 8,
    stride: int = 0,
) -> bytes:
    return struct.pack(">QIIIII", address, fourcc, 0, width, height, stride)


@pytest.fixture
def space() -> AddressSpace:
    made = AddressSpace()
    made.add_memory(Ram("ram", SIZE), RAM)
    return made


@pytest.fixture
def ramfb(space: AddressSpace) -> Ramfb:
    return Ramfb(space)


def test_nothing_is_shown_at_first(ramfb: Ramfb) -> None:
    assert ramfb.screen.surface is None


def test_what_is_in_memory_is_on_the_screen(ramfb: Ramfb, space: AddressSpace) -> None:
    ramfb.configured(config(RAM + 64, stride=96))
    space.write(RAM + 64 + 96 * 7 + 60, b"last")
    shown = ramfb.screen.surface
    assert shown is not None
    assert (shown.width, shown.height) == (16, 8)
    assert shown.copy().pixels()[-4:] == b"last"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (config(fourcc=7), "unknown format"),
        (config(width=0), "impossible size"),
        (config(height=0xFFFF_FFFF), "impossible size"),
        (config(width=1 << 31, height=1 << 31), "impossible size"),
        (config(stride=63), "rows of a frame buffer overlap"),
        (config(stride=0xFFFF_FFFF), "outside of memory"),
        (config(address=0), "outside of memory"),
        (config(address=RAM + SIZE - 16 * 8 * 4 + 1), "outside of memory"),
        (config(address=(1 << 64) - 1), "outside of memory"),
    ],
)
def test_what_cannot_be_is_not_shown(ramfb: Ramfb, content: bytes, why: str) -> None:
    ramfb.configured(config())
    with pytest.raises(GuestError, match=why):
        ramfb.configured(content)
    assert ramfb.screen.surface is None


def test_a_frame_buffer_may_end_with_the_memory(ramfb: Ramfb) -> None:
    ramfb.configured(config(address=RAM + SIZE - 16 * 8 * 4))
    assert ramfb.screen.surface is not None


def test_memory_that_goes_away_shows_nothing(ramfb: Ramfb, space: AddressSpace) -> None:
    ramfb.configured(config())
    space.remove(space.regions[0])
    assert ramfb.screen.surface is None


def test_a_snapshot_knows_it_by_its_file(space: AddressSpace) -> None:
    cards = []
    for _ in range(2):
        fw_cfg, ramfb = FwCfg(space), Ramfb(space)
        fw_cfg.add_writable_file(FILE, bytes(FILE_SIZE), ramfb.configured)
        cards.append((fw_cfg, ramfb))
    (first, shown), (second, other) = cards
    first.items[0x20] = config(width=33)
    second.load(first.save())
    assert other.screen.surface is not None
    assert other.screen.surface.width == 33
    assert shown.screen.surface is None, "nobody has told the first one"
    second.reset()
    assert other.screen.surface is None
