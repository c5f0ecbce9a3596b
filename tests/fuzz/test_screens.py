"""Pictures that hostile guests set up: whatever they say, nothing outside of their memory is shown,
no more memory is used than is allowed, and nothing else happens."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.base.errors import GuestError
from bimetal.devices.display.ramfb import FORMATS, Ramfb
from bimetal.devices.virtio import gpu
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace
from tests.devices.virtio.guest import BASE, NEEDS_RESET, STATUS
from tests.devices.virtio.test_gpu import (
    ATTACH,
    CREATE,
    DETACH,
    FLUSH,
    GET_EDID,
    MOVE_CURSOR,
    PICTURE,
    SET_SCANOUT,
    SIZE,
    TRANSFER,
    UNREF,
    UPDATE_CURSOR,
    World,
)

RAM, RAM_SIZE = 0x4000_0000, 0x2_0000
WORD = st.one_of(st.integers(0, 300), st.integers(0, 0xFFFF_FFFF))
ADDRESS = st.one_of(st.integers(RAM - 64, RAM + RAM_SIZE), st.integers(0, (1 << 64) - 1))


@given(ADDRESS, st.one_of(st.sampled_from(list(FORMATS)), WORD), WORD, WORD, WORD, WORD)
def test_any_frame_buffer(
    address: int, fourcc: int, flags: int, width: int, height: int, stride: int
) -> None:
    space = AddressSpace()
    space.add_memory(Ram("ram", RAM_SIZE), RAM)
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
    assert RAM <= address <= RAM + RAM_SIZE - last
    assert len(shown.copy().pixels()) == 4 * width * height


NUMBER = st.integers(0, 3)
SIDE = st.sampled_from([0, 1, 2, 7, 63, 64, 64, 65, 100, 5000, 0x7FFF_FFFF, 0xFFFF_FFFF])
PLACE = st.one_of(st.integers(0, 70), SIDE)
RECTANGLE = st.tuples(PLACE, PLACE, SIDE, SIDE)
ENTRY = st.builds(
    struct.Struct("<QII").pack,
    st.one_of(st.integers(PICTURE, BASE + SIZE), st.just(0), st.integers(0, (1 << 64) - 1)),
    st.sampled_from([0, 1, 4, 4096, 16384, 0xFFFF_FFFF]),
    st.just(0),
)


def words(*fields: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda *given: struct.pack(f"<{len(given)}I", *given), *fields)


def with_rectangle(*fields: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda r, rest: struct.pack("<4I", *r) + rest, RECTANGLE, words(*fields))


REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just(CREATE), words(NUMBER, st.integers(0, 3), SIDE, SIDE)),
        st.tuples(st.just(CREATE), words(NUMBER, st.just(2), st.just(64), st.just(64))),
        st.tuples(st.sampled_from([UNREF, DETACH, GET_EDID]), words(NUMBER, NUMBER)),
        st.tuples(st.sampled_from([SET_SCANOUT, FLUSH]), with_rectangle(NUMBER, NUMBER)),
        st.tuples(
            st.just(TRANSFER), with_rectangle(PLACE, st.sampled_from([0, 0, 9]), NUMBER, NUMBER)
        ),
        st.tuples(
            st.just(ATTACH),
            st.builds(
                lambda number, entries, more: (
                    struct.pack("<II", number, len(entries) + more) + b"".join(entries)
                ),
                NUMBER,
                st.lists(ENTRY, max_size=5),
                st.sampled_from([0, 0, 0, 1, 0xFFFF_0000]),
            ),
        ),
        st.tuples(
            st.sampled_from([UPDATE_CURSOR, MOVE_CURSOR]),
            words(NUMBER, PLACE, PLACE, PLACE, NUMBER, PLACE, PLACE, PLACE),
        ),
        st.tuples(st.integers(0, 0xFFFF_FFFF), st.binary(max_size=80)),
    ),
    max_size=30,
)


@given(REQUESTS)
def test_any_requests_of_a_gpu(requests: list[tuple[int, bytes]]) -> None:
    world = World()
    limit = 1 << 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "MEMORY_LIMIT", limit)
        for kind, body in requests:
            assert len(world.ask(kind, body)) == 24
            assert sum(len(each.memory) for each in world.device._resources.values()) <= limit
            shown = world.device.screen.surface
            if shown is not None:
                assert len(shown.copy().pixels()) == 4 * shown.width * shown.height
        state = world.device.save()
        world.device.load(state)
        assert world.device.save() == state
    assert not world.guest.read(STATUS) & NEEDS_RESET
    assert world.guest.space.read(PICTURE, 1 << 16) == world.noise[: 1 << 16]
