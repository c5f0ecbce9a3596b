"""Compressed files: whole, of several parts, cut, damaged, too large, or not readable here."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import random
import subprocess
from collections.abc import Callable

import pytest
import zstandard
from lz4 import block, frame

from bimetal.base.errors import BimetalError
from bimetal.firmware import compression
from bimetal.firmware.compression import compression_of, decompress
from tests.host import need

PLAIN = random.Random(1).randbytes(3000) + b"kernel" * 2000
SKIPPED = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def lzma_alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def zstd(data: bytes) -> bytes:
    return bytes(zstandard.ZstdCompressor().compress(data))


def lz4(data: bytes) -> bytes:
    return bytes(frame.compress(data))


def lz4_legacy(data: bytes) -> bytes:
    """As ``lz4 -l`` writes it."""
    packed = b"\x02\x21\x4c\x18"
    for start in range(0, len(data), 8 << 20):
        part = block.compress(data[start : start + (8 << 20)], store_size=False)
        packed += len(part).to_bytes(4, "little") + part
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lzma_alone,
    "zstd": zstd,
    "lz4": lz4,
    "lz4 -l": lz4_legacy,
}
every = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)


@every
def test_what_was_packed_comes_out(pack: Callable[[bytes], bytes]) -> None:
    assert compression_of(pack(PLAIN)) is not None
    assert decompress(pack(PLAIN), "Image") == PLAIN
    large = PLAIN + bytes(9 << 20) + PLAIN
    assert decompress(pack(large), "Image") == large


def test_what_is_not_compressed_stays() -> None:
    for data in (b"", b"MZ", b"\x5d\0\0" + bytes(30), PLAIN):
        assert decompress(data, "Image") is data


@pytest.mark.parametrize(
    "pack",
    # That of lzma alone has no end that a second part could follow.
    [pack for pack in PACKERS.values() if pack is not lzma_alone],
    ids=[name for name in PACKERS if name != "lzma"],
)
def test_files_of_several_parts(pack: Callable[[bytes], bytes]) -> None:
    assert decompress(pack(PLAIN) + pack(b"more"), "Image") == PLAIN + b"more"


@every
def test_what_is_behind_the_end_does_not_count(pack: Callable[[bytes], bytes]) -> None:
    size = len(PLAIN).to_bytes(4, "little")  # which Linux puts behind some of its own
    assert decompress(pack(PLAIN) + size, "Image") == PLAIN


def test_padding_between_parts_of_xz() -> None:
    assert decompress(lzma.compress(b"a") + bytes(8) + lzma.compress(b"b"), "x") == b"ab"


@pytest.mark.parametrize("pack", [zstd, lz4])
def test_parts_that_are_to_be_skipped(pack: Callable[[bytes], bytes]) -> None:
    packed = SKIPPED + pack(PLAIN) + SKIPPED + SKIPPED + pack(b"more") + SKIPPED
    assert decompress(packed, "Image") == PLAIN + b"more"


@every
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut(pack: Callable[[bytes], bytes], part: float) -> None:
    whole = pack(PLAIN)
    with pytest.raises(BimetalError, match="Image is damaged") as caught:
        decompress(whole[: int(len(whole) * part)], "Image")
    assert "anew" in caught.value.remedy


@every
def test_no_damage_is_more_than_an_error(pack: Callable[[bytes], bytes]) -> None:
    whole, chance = pack(PLAIN), random.Random(2)
    for _ in range(300):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(4)):
            data[chance.randrange(len(data))] = chance.randrange(256) if data else 0
        with contextlib.suppress(BimetalError):
            decompress(bytes(data), "Image", limit=1 << 20)


@every
def test_nothing_grows_beyond_its_limit(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(20 << 20))
    with pytest.raises(BimetalError, match="it grows beyond 1 MiB") as caught:
        decompress(bomb, "Image", limit=1 << 20)
    assert " -d'" in caught.value.remedy
    with pytest.raises(BimetalError, match="grows beyond") as caught:
        decompress(bomb + bomb, "Image", limit=(20 << 20) - 1, remedy="buy a larger one")
    assert caught.value.remedy == "buy a larger one"
    assert len(decompress(bomb, "Image", limit=20 << 20)) == 20 << 20


def test_parts_together_have_one_limit() -> None:
    part = gzip.compress(bytes(1 << 20))
    with pytest.raises(BimetalError, match="grows beyond 3 MiB"):
        decompress(part * 4, "Image", limit=3 << 20)


@pytest.mark.parametrize(
    ("command", "name"), [("zstd", "zstd"), ("lz4", "lz4"), ("lz4 -l", "lz4"), ("lzop", "lzop")]
)
def test_without_a_library_the_command_is_named(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        compression,
        "FORMATS",
        [
            compression.Compression(each.name, each.command, each.starts, None, each.package)
            for each in compression.FORMATS
        ],
    )
    marks = {"zstd": compression.ZSTD, "lz4": compression.LZ4, "lz4 -l": compression.LZ4_LEGACY}
    data = marks.get(command, b"\x89LZO\0\r\n\x1a\n") + bytes(100)
    with pytest.raises(BimetalError, match=f"is compressed with {name}") as caught:
        decompress(data, "Image")
    assert f"{name} -d" in caught.value.remedy
    assert ("pip install" in caught.value.remedy) == (name != "lzop")


@pytest.mark.parametrize(
    "command",
    ["gzip -9", "bzip2", "xz --check=crc32", "lzma", "zstd -19 --long=27", "lz4 -9", "lz4 -l"],
)
def test_what_the_commands_write(command: str) -> None:
    words = command.split()
    need(words[0])
    done = subprocess.run([*words, "-c"], input=PLAIN, capture_output=True, check=True)
    assert decompress(done.stdout, "Image") == PLAIN
