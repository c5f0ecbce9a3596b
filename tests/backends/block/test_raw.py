"""Raw images: what is refused, what is kept, and what the host may do to them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import bimetal
from bimetal import images
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError
from tests.host import need

KIB, MIB = 1 << 10, 1 << 20
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(bimetal.__file__).parents[1])}


def raw(path: Path | str, *, readonly: bool = False) -> RawImage:
    """The image at ``path``, opened as a machine opens it."""
    image = open_disk(str(path), readonly=readonly)
    assert isinstance(image, RawImage)
    return image


def pattern(length: int, seed: int = 1) -> bytes:
    return bytes((seed + n * n // 7) & 0xFF for n in range(KIB)) * (length // KIB)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(pattern(MIB))
    return path


@pytest.fixture
def image(path: Path) -> Iterator[RawImage]:
    image = raw(path)
    yield image
    image.close()


# What is no disk


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "there is no disk image"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (folder, "is a folder"),
        (fifo, "is neither file nor disk, but a pipe"),
    ],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_no_disk_is_an_error_with_a_remedy(
    path: Path, spoil: Any, message: str, readonly: bool
) -> None:
    spoil(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BimetalError, match=message) as caught:
        raw(path, readonly=readonly)
    assert caught.value.remedy
    assert str(path) in str(caught.value)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_image_that_may_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def guarded(name: str, flags: int, *rest: int) -> int:
        if name == str(path) and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(name, flags, *rest)

    monkeypatch.setattr(os, "open", guarded)
    with pytest.raises(BimetalError, match="may not be opened: Permission denied") as caught:
        raw(path)
    assert "readonly or snapshot" in caught.value.remedy
    raw(path, readonly=True).close()


# Sizes that are no multiple of a sector


def test_a_file_that_ends_inside_a_sector_is_not_made_longer(path: Path) -> None:
    path.write_bytes(b"\xab" * 1000)
    with pytest.raises(BimetalError, match="1000 bytes, not a whole number of 512-byte") as caught:
        raw(path)
    assert "readonly or snapshot" in caught.value.remedy
    assert path.read_bytes() == b"\xab" * 1000
    subprocess.run(caught.value.remedy.split("longer: ")[1], shell=True, check=True)
    with contextlib.closing(raw(path)) as image:
        assert image.size == 1024


@pytest.mark.parametrize("length", [1, 511, 513, 1000])
def test_behind_the_end_of_a_file_that_is_only_read_are_zeroes(path: Path, length: int) -> None:
    path.write_bytes(b"\xab" * length)
    size = -(-length // 512) * 512
    padded = (b"\xab" * length).ljust(size, b"\0")
    with contextlib.closing(raw(path, readonly=True)) as image:
        assert image.size == size
        buffers = [bytearray(b"\xff" * 100), bytearray(b"\xff" * (size - 100))]
        image.readv(0, [memoryview(buffer) for buffer in buffers])
        assert b"".join(buffers) == padded
        assert image.read(size - 512, 512) == padded[-512:]
    with contextlib.closing(open_disk(str(path), snapshot=True)) as disk:
        assert disk.read(0, size) == padded
        disk.write(size - 512, b"\1" * 512)
        assert disk.read(0, size) == padded[:-512] + b"\1" * 512
    assert path.read_bytes() == b"\xab" * length


# Reading and writing


def test_bytes_are_where_they_were_written(image: RawImage, path: Path) -> None:
    assert image.size == MIB
    assert image.read(512, 1024) == pattern(MIB)[512:1536]
    image.write(4096, b"\xab" * 512)
    image.flush()
    expected = bytearray(pattern(MIB))
    expected[4096:4608] = b"\xab" * 512
    assert path.read_bytes() == expected


def test_what_is_read_without_waiting_is_what_is_there(image: RawImage, path: Path) -> None:
    data = os.urandom(8192)
    image.write(4096, data)
    waiting = image.flushing()
    assert waiting is not None
    waiting()
    assert path.read_bytes()[4096 : 4096 + len(data)] == data
    for advice in (os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, advice)
        first, second = bytearray(512), bytearray(7680)
        buffers = [memoryview(first), memoryview(second)]
        if not image.read_now(4096, buffers):
            image.readv(4096, buffers)
        assert first + second == data


def test_a_file_system_that_cannot_tell_is_waited_for(
    image: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.write(0, b"x" * 512)
    plain = os.preadv

    def refuse(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return plain(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", refuse)
    data = bytearray(512)
    assert image.read_now(0, [memoryview(data)])
    assert data == b"x" * 512


def test_after_a_flush_that_failed_none_begins(
    image: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    waiting = image.flushing()
    assert waiting is not None
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="lost"):
        waiting()
    monkeypatch.undo()
    with pytest.raises(OSError, match="an earlier flush failed"):
        image.flushing()


def test_a_vector_longer_than_the_kernels_limit(image: RawImage) -> None:
    data = os.urandom(3000 * 8)
    view = memoryview(data)
    image.writev(512, [view[n : n + 8] for n in range(0, len(data), 8)])
    place = memoryview(bytearray(len(data)))
    image.readv(512, [place[n : n + 8] for n in range(0, len(data), 8)])
    assert place == data


def test_transfers_that_the_kernel_cuts_short_are_completed(
    image: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(buffers: Sequence[memoryview]) -> list[memoryview]:
        return [buffers[0][:100]] if len(buffers[0]) > 100 else [buffers[0]]

    writev, readv = os.pwritev, os.preadv
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, at: writev(fd, cut(buffers), at))
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: readv(fd, cut(buffers), at))
    data = os.urandom(4096)
    view = memoryview(data)
    image.writev(1024, [view[:50], view[50:3000], view[3000:]])
    assert image.read(1024, 4096) == data
    assert image.read(0, 1024) == pattern(MIB)[:1024]


def test_an_image_that_was_cut_off_meanwhile_is_an_io_error(image: RawImage, path: Path) -> None:
    os.truncate(path, 8192)
    assert image.read(4096, 4096) == pattern(MIB)[4096:8192]
    with pytest.raises(OSError, match="ends at byte 8192") as caught:
        image.read(4096, 8192)
    assert caught.value.errno == errno.EIO


def test_a_read_only_image_is_opened_for_reading(path: Path) -> None:
    image = raw(path, readonly=True)
    assert image.read(0, 512) == pattern(MIB)[:512]
    with pytest.raises(OSError, match="Bad file descriptor"):
        image.write(0, bytes(512))
    image.flush()
    image.close()
    assert path.read_bytes() == pattern(MIB)


def test_the_descriptor_is_not_inherited(image: RawImage) -> None:
    assert not os.get_inheritable(image._fd)


def test_no_message_is_written_into_an_image(path: Path) -> None:
    program = f"""
import os
import re
from bimetal.backends.block.choose import open_disk
for fd in range(3):
    os.close(fd)
disk = open_disk({str(path)!r})
os.write(2, b"a message")
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=False)
    assert done.returncode != 0, "there is nothing to write to"
    assert path.read_bytes() == pattern(MIB)


# Holes


def test_discarding_gives_space_back(image: RawImage, path: Path) -> None:
    before = path.stat().st_blocks
    image.discard(64 * KIB, 512 * KIB)
    assert path.stat().st_blocks <= before
    assert path.stat().st_size == MIB
    expected = pattern(MIB)[: 64 * KIB] + bytes(512 * KIB) + pattern(MIB)[576 * KIB :]
    assert path.read_bytes() == expected


@pytest.mark.parametrize("unmap", [False, True])
@pytest.mark.parametrize(("offset", "length"), [(512, 512), (0, MIB), (4096 - 512, 8192), (0, 0)])
@pytest.mark.parametrize("host_can", [True, False])
def test_zeroes(
    image: RawImage,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unmap: bool,
    offset: int,
    length: int,
    host_can: bool,
) -> None:
    if not host_can:
        monkeypatch.setattr(Holes, "punch", lambda self, offset, length: False)
        monkeypatch.setattr(Holes, "zero", lambda self, offset, length: False)
    image.write_zeroes(offset, length, unmap=unmap)
    expected = bytearray(pattern(MIB))
    expected[offset : offset + length] = bytes(length)
    assert path.read_bytes() == expected


def test_a_host_without_holes_is_asked_once(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    holes = Holes(write_end, block_device=False)
    assert not holes.punch(0, 512)
    assert not holes.zero(0, 512)
    os.close(write_end)
    assert not holes.punch(0, 512), "no call on the closed descriptor"
    os.close(read_end)


# The host in trouble


@contextlib.contextmanager
def files_no_larger_than(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_finds_no_space_fails_whole_or_in_part_but_aloud(tmp_path: Path) -> None:
    path = tmp_path / "sparse.img"
    path.touch()
    os.truncate(path, MIB)
    image = raw(path)
    with files_no_larger_than(64 * KIB):
        image.write(32 * KIB, b"\1" * 1024)
        with pytest.raises(OSError, match="File too large"):
            image.write(60 * KIB, b"\2" * (8 * KIB))
    image.write(128 * KIB, b"\3" * 1024)
    assert image.read(32 * KIB, 1024) == b"\1" * 1024, "what was written before is still there"
    assert image.read(128 * KIB, 1024) == b"\3" * 1024, "and the image goes on working"
    image.close()


def test_after_a_failed_flush_no_flush_succeeds(
    image: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            image.flush()
    with pytest.raises(OSError, match="an earlier flush failed"):
        image.flush()
    image.close()
    assert image._file.log.counts == {"host error: the last writes may be lost": 1}


def safe_writes_fail(patch: pytest.MonkeyPatch, error: int) -> None:
    pwritev = os.pwritev

    def writing(fd: int, buffers: Sequence[bytes], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_DSYNC:
            raise OSError(error, os.strerror(error))
        return pwritev(fd, buffers, offset, flags)

    patch.setattr(os, "pwritev", writing)


def test_what_is_made_safe_is_there(image: RawImage, path: Path) -> None:
    image.write(512, b"\1" * 512)
    image._file.make_safe(512, b"\1" * 512)
    assert path.read_bytes()[:1536] == pattern(MIB)[:512] + b"\1" * 512 + pattern(MIB)[1024:1536]


def test_after_what_could_not_be_made_safe_no_flush_succeeds(
    image: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have told then, and only then, that what a guest wrote is lost."""
    with monkeypatch.context() as patch:
        safe_writes_fail(patch, errno.EIO)
        with pytest.raises(OSError, match="Input/output error"):
            image._file.make_safe(0, pattern(MIB)[:512])
    with pytest.raises(OSError, match="an earlier flush failed"):
        image.flush()
    with pytest.raises(OSError, match="an earlier flush failed"):
        image._file.make_safe(0, pattern(MIB)[:512])


def test_where_no_write_can_be_waited_for_all_are(
    image: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    with monkeypatch.context() as patch:
        safe_writes_fail(patch, errno.EOPNOTSUPP)
        patch.setattr(os, "fdatasync", flushed.append)
        image._file.make_safe(0, pattern(MIB)[:512])
    assert len(flushed) == 1
    image.flush()


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_what_is_closed_is_not_sealed(tmp_path: Path, format: str) -> None:
    """The number of its file may be that of another one by now."""
    images.create(str(tmp_path / "image"), MIB, format=format)
    image = open_disk(str(tmp_path / "image"), format=format)
    image.close()
    image.seal()


def test_closing_flushes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    image = raw(path)
    monkeypatch.setattr(os, "fdatasync", flushed.append)
    image.close()
    image.close()
    assert len(flushed) == 1


WRITER = """
import sys
from bimetal.backends.block.choose import open_disk
image = open_disk(sys.argv[1])
generation = 0
while True:
    generation += 1
    image.write(0, bytes([generation % 256]) * 65536)
    image.flush()
    print(generation, flush=True)
"""


def test_what_was_flushed_outlives_kill_9_and_the_lock_does_not(path: Path) -> None:
    arguments = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(5):
            child.stdout.readline()
        with pytest.raises(BimetalError, match="in use by another machine"):
            raw(path)
        child.send_signal(signal.SIGKILL)
        reported = [5] + [int(line) for line in child.stdout]
    image = raw(path)
    assert image.size == MIB, "the size is what it was"
    content = image.read(0, 65536)
    last = reported[-1]
    assert set(content) <= {last % 256, (last + 1) % 256}, "nothing older than the last flush"
    assert image.read(65536, MIB - 65536) == pattern(MIB)[65536:], "and nothing beside it"
    image.close()


# Block devices


@pytest.fixture
def loop_device(path: Path) -> Iterator[str]:
    need("losetup")
    found = subprocess.run(
        ["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=False
    )
    device = found.stdout.strip()
    if found.returncode or not Path(device).exists() or not stat.S_ISBLK(os.stat(device).st_mode):
        pytest.skip("no loop devices here")
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_block_device(loop_device: str) -> None:
    image = raw(loop_device)
    assert image.size == MIB
    image.write(4096, b"\xab" * 512)
    image.write_zeroes(8192, 4096)
    image.write_zeroes(65536, 4096, unmap=True)
    image.discard(128 * KIB, 64 * KIB)
    image.flush()
    assert image.read(4096, 512) == b"\xab" * 512
    assert image.read(8192, 4096) == image.read(65536, 4096) == bytes(4096)
    with pytest.raises(BimetalError, match="in use"):
        raw(loop_device)
    image.close()


def test_a_block_device_that_is_only_read(loop_device: str) -> None:
    with open(loop_device, "rb") as device:
        fcntl.ioctl(device, 0x125D, struct.pack("i", 1))  # BLKROSET
    try:
        with pytest.raises(BimetalError, match="is a device that cannot be written") as caught:
            open_disk(loop_device)
        assert "readonly" in caught.value.remedy
        open_disk(loop_device, readonly=True).close()
        open_disk(loop_device, snapshot=True).close()
    finally:
        with open(loop_device, "rb") as device:
            fcntl.ioctl(device, 0x125D, struct.pack("i", 0))


@pytest.mark.parametrize("replaced", [False, True])
def test_an_image_that_is_deleted_can_be_saved(
    path: Path, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    disk = open_disk(str(path))
    disk.write(0, b"\1" * 512)
    disk.flush()
    assert "has been deleted" not in caplog.text
    path.unlink()
    if replaced:
        path.write_bytes(b"keep me")
    disk.flush()
    disk.flush()
    assert caplog.text.count("has been deleted") == 1
    (command,) = re.findall(r"cp /proc/.*", caplog.text)
    subprocess.run(command, shell=True, check=True)
    disk.close()
    saved = path.with_stem(path.stem + "-2") if replaced else path
    with contextlib.closing(open_disk(str(saved), readonly=True)) as disk:
        assert disk.read(0, 512) == b"\1" * 512
    assert not replaced or path.read_bytes() == b"keep me"


def test_opening_by_path(path: Path) -> None:
    disk = open_disk(str(path), readonly=True)
    assert disk.readonly
    disk.close()
    disk = open_disk(str(path), snapshot=True)
    assert not disk.readonly
    disk.write(0, bytes(512))
    assert disk.read(0, 512) == bytes(512)
    disk.close()
    assert path.read_bytes() == pattern(MIB)
