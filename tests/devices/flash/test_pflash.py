"""A flash bank as Linux's and EDK II's drivers talk to it."""

import pytest

from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash

SMALL = Geometry(size=0x4_0000, block_size=0x1_0000)
BLOCK = SMALL.block_size


class Store:
    """A file in memory that can fail."""

    def __init__(self, content: bytes, *, readonly: bool = False):
        self.content = bytearray(content)
        self.size, self.readonly = len(content), readonly
        self.flushed = 0
        self.broken = self.closed = False

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise OSError("no space left on device")
        self.content[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        self.closed = True


def is_direct(flash: PFlash) -> bool:
    return flash.direct.high


def both(value: int) -> int:
    """The same in the half of each chip."""
    return value << 16 | value


def command(flash: PFlash, offset: int, *values: int) -> None:
    for value in values:
        flash.write(offset, 4, both(value))


def program(flash: PFlash, offset: int, value: int) -> None:
    command(flash, offset, 0x40)
    flash.write(offset, 4, value)


def patterned() -> Store:
    return Store(bytes(range(256)) * (SMALL.size // 256))


def test_the_array_is_memory_until_a_command_comes() -> None:
    flash = PFlash(SMALL, patterned())
    assert is_direct(flash)
    assert flash.direct_memory is not None
    assert bytes(flash.direct_memory.bytes[0x100:0x104]) == bytes((0, 1, 2, 3))
    command(flash, 0, 0x70)
    assert not is_direct(flash)
    assert flash.read(0, 4) == both(0x80)
    command(flash, 0, 0xFF)
    assert is_direct(flash)
    assert flash.read(0x10, 4) == 0x13121110


def test_the_query_describes_the_bank() -> None:
    flash = PFlash(Geometry(size=32 << 20))
    command(flash, 0x55 * 4, 0x98)

    def query(word: int) -> int:
        answer = flash.read(4 * word, 4)
        assert answer >> 16 == answer & 0xFFFF
        return answer & 0xFFFF

    assert bytes(query(word) for word in (0x10, 0x11, 0x12)) == b"QRY"
    assert query(0x13) == 0x01
    extended = query(0x15)
    assert bytes(query(extended + index) for index in range(5)) == b"PRI10"
    assert 1 << query(0x27) == 16 << 20
    assert query(0x2C) == 1
    blocks = (query(0x2D) | query(0x2E) << 8) + 1
    block_size = (query(0x2F) | query(0x30) << 8) * 256
    assert (blocks, block_size) == (128, 128 << 10)
    assert flash.read(4 * 0x10 + 2, 2) == ord("Q")
    assert query(0x3FFF) == 0


def test_identifiers() -> None:
    flash = PFlash(SMALL)
    command(flash, 0, 0x90)
    assert flash.read(0, 4) == both(0x89)
    assert flash.read(4, 4) == both(0x18)
    assert flash.read(8, 4) == both(0)
    command(flash, BLOCK, 0x60, 0x01, 0x90)
    assert flash.read(8, 4) == both(0)
    assert flash.read(BLOCK + 8, 4) == both(1)


def test_programming_clears_bits_and_erasing_sets_them() -> None:
    store = Store(b"\xff" * SMALL.size)
    flash = PFlash(SMALL, store)
    program(flash, 0x100, 0x1234_5678)
    assert flash.read(0x100, 4) == both(0x80)
    program(flash, 0x100, 0xFFFF_0000)
    command(flash, 0, 0xFF)
    assert flash.read(0x100, 4) == 0x1234_0000
    assert store.content[0x100:0x104] == bytes.fromhex("00003412")
    command(flash, 0x1FC, 0x20, 0xD0)
    command(flash, 0, 0xFF)
    assert flash.read(0x100, 4) == 0xFFFF_FFFF
    assert store.content == b"\xff" * SMALL.size
    assert store.flushed == 3


def test_a_buffer_is_programmed_at_once() -> None:
    store = Store(b"\xff" * SMALL.size)
    flash = PFlash(SMALL, store)
    command(flash, BLOCK, 0xE8)
    assert flash.read(BLOCK, 4) == both(0x80)
    command(flash, BLOCK, 3)
    for word in range(4):
        flash.write(BLOCK + 4 * word, 4, 0x0101_0101 * word)
    assert store.content[BLOCK : BLOCK + 4] == b"\xff" * 4
    command(flash, BLOCK, 0xD0, 0xFF)
    assert bytes(store.content[BLOCK : BLOCK + 16]) == b"".join(bytes((n,)) * 4 for n in range(4))
    assert store.flushed == 1


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ((0x20, 0x00), 0xB0),
        ((0xE8, 0xFFFF), 0xB0),
        ((0xE8, 0x00, 0x12, 0x34), 0xB0),
        ((0x60, 0x77), 0xB0),
        ((0x60, 0x01, 0x20, 0xD0), 0xA2),
        ((0x60, 0x01, 0x40, 0x00), 0x92),
        ((0x60, 0x01, 0x60, 0xD0, 0x20, 0xD0), 0x80),
        ((0x20, 0x00, 0x50, 0x70), 0x80),
        ((0x20, 0xD0, 0xB0, 0xD0), 0x80),
    ],
)
def test_the_status_says_what_went_wrong(commands: tuple[int, ...], status: int) -> None:
    flash = PFlash(SMALL)
    command(flash, 0, *commands)
    assert flash.read(0, 4) == both(status)


def test_a_buffer_across_two_blocks_programs_nothing() -> None:
    flash = PFlash(SMALL)
    command(flash, 0, 0xE8, 1)
    flash.write(0, 4, 0)
    flash.write(BLOCK, 4, 0)
    command(flash, 0, 0xD0)
    assert flash.read(0, 4) == both(0x90)
    command(flash, 0, 0xFF)
    assert flash.read(0, 4) == 0xFFFF_FFFF


def test_an_unknown_command_is_a_guest_error() -> None:
    flash = PFlash(SMALL)
    command(flash, 0, 0x77)
    assert flash.events.counts == {"guest error: flash command 0x77": 1}
    assert flash.mode == "array"


def test_a_read_only_store_is_never_written() -> None:
    store = Store(b"firmware", readonly=True)
    flash = PFlash(SMALL, store)
    assert flash.read(0, 8) == int.from_bytes(b"firmware", "little")
    assert flash.read(8, 4) == 0xFFFF_FFFF
    program(flash, 0, 0)
    command(flash, 0, 0x20, 0xD0)
    assert flash.read(0, 4) == both(0x80 | 0x20 | 0x10 | 0x02)
    assert store.content == b"firmware"


def test_a_writable_store_has_the_size_of_the_bank() -> None:
    with pytest.raises(ValueError, match="8 bytes for a flash of 262144"):
        PFlash(SMALL, Store(b"firmware"))


def test_a_failing_store_fails_the_guest_and_is_counted() -> None:
    store = patterned()
    flash = PFlash(SMALL, store)
    store.broken = True
    program(flash, 0, 0)
    assert flash.read(0, 4) == both(0x90)
    assert flash.events.counts == {"host error: a flash could not be saved": 1}


def test_closing_gives_the_store_back() -> None:
    store = patterned()
    PFlash(SMALL, store).close()
    assert store.closed


def test_reset_brings_the_array_back() -> None:
    flash = PFlash(SMALL, patterned())
    command(flash, 0, 0xE8)
    flash.reset()
    assert is_direct(flash)
    assert flash.read(4, 4) == 0x07060504


def test_a_snapshot_keeps_the_contents_and_the_mode() -> None:
    flash = PFlash(SMALL)
    program(flash, 0x40, 0xCAFE_F00D)
    store = patterned()
    other = PFlash(SMALL, store)
    snapshot(flash, other)
    assert other.read(0, 4) == both(0x80)
    command(other, 0, 0xFF)
    assert other.read(0x40, 4) == 0xCAFE_F00D


def test_a_snapshot_keeps_the_step_of_a_command() -> None:
    """In the middle of programming a buffer, what the next write means is state too."""
    flash, other = PFlash(SMALL), PFlash(SMALL)
    command(flash, 0, 0xE8)
    flash.write(0, 4, both(1))
    flash.write(0, 4, 0x1234_5678)
    snapshot(flash, other)
    for each in (flash, other):
        each.write(4, 4, 0x9ABC_DEF0)
        command(each, 0, 0xD0)
        command(each, 0, 0xFF)
        assert [each.read(at, 4) for at in (0, 4)] == [0x1234_5678, 0x9ABC_DEF0]


def snapshot(flash: PFlash, other: PFlash) -> None:
    other.load(flash.save())
    for name, contents in flash.areas().items():
        for number, page in contents.contents():
            other.areas()[name].put(number, page)


@pytest.mark.parametrize("values", [(0, 1, 2), (0x1000, 0x3000, 2), (0x1000, 0x2000, 2)])
def test_geometries_that_make_no_sense(values: tuple[int, int, int]) -> None:
    size, block, chips = values
    with pytest.raises(ValueError, match=r"power of two|do not fill"):
        Geometry(size, block, chips)
