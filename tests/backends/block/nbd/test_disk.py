"""A disk that an NBD server serves: QEMU's, ours, one that dies, one that lies."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.nbd.address import Address, is_address, parse_address
from bimetal.backends.block.nbd.disk import NbdDisk
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.block.nbd.serving import MIB, qemu_nbd, served
from tests.host import programs

needs_qemu_nbd = programs("qemu-nbd", "qemu-img")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(os.urandom(2 * MIB))
    os.truncate(path, 8 * MIB)
    return path


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "nbd.sock"


def uri(socket: Path, export: str = "") -> str:
    return f"nbd+unix:///{export}?socket={socket}"


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("nbd://host", Address("", "host", 10809)),
        ("nbd://host/", Address("", "host", 10809)),
        ("NBD://host:1/a%20disk/b", Address("a disk/b", "host", 1)),
        ("nbd://[::1]:99/x", Address("x", "::1", 99)),
        ("nbd+unix:///x?socket=/tmp/a%20b", Address("x", path="/tmp/a b")),
        ("nbd+unix://?socket=s", Address(path="s")),
        ("nbd:host:77", Address("", "host", 77)),
        ("nbd:host:77:exportname=a:b", Address("a:b", "host", 77)),
        ("nbd:unix:/tmp/a:b", Address(path="/tmp/a:b")),
        ("nbd:unix:/s:exportname=x", Address("x", path="/s")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert is_address(text)
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "nbd:", "nbd://host:x", "nbd://host:70000", "nbd://host:0", "nbd:host", "nbd:host:0",
        "nbd:unix:", "nbd+unix:///x", "nbd+unix://host/x?socket=s", "nbd+unix:///?socket=a&socket=b",
        "nbd+unix:///?socket=a&tls=1", "nbd+vsock://1:1/", "nbds://host", "nbd://host?x=1",
        "nbd://[::1", "nbd:unix:a\0b", "nbd+unix:/x?socket=s",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BimetalError) as caught:
        open_disk(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "write nbd://" in caught.value.remedy or "ssh" in caught.value.remedy


def test_files_are_files() -> None:
    for path in ("./nbd:host:1", "nbdisk.img", "/a/nbd:x", "nb"):
        assert not is_address(path)


# Servers of others


@needs_qemu_nbd
@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_disk_from_qemu(tmp_path: Path, image: Path, socket: Path, format: str) -> None:
    content = bytearray(image.read_bytes())
    path = tmp_path / f"served.{format}"
    order = ["qemu-img", "convert", "-f", "raw", "-O", format, str(image), str(path)]
    subprocess.run(order, check=True, timeout=60)
    rng = random.Random(format)
    words = ("-f", format, "-x", "export", "--discard=unmap", str(path))
    with (
        qemu_nbd(socket, *words),
        contextlib.closing(open_disk(uri(socket, "export"))) as disk,
    ):
        assert disk.size == 8 * MIB
        assert disk.read(0, disk.size) == content
        assert sum(extent.length for extent in disk.extents(0, disk.size) if extent.zero) == 6 * MIB
        for _ in range(40):
            start = rng.randrange(0, disk.size, 512)
            length = min(rng.choice((512, 5120, 3 * MIB)), disk.size - start)
            if rng.random() < 0.2:
                disk.write_zeroes(start, length, unmap=rng.random() < 0.5)
                content[start : start + length] = bytes(length)
            else:
                view = memoryview(content)[start : start + length]
                view[:] = rng.randbytes(length)
                cut = rng.randrange(length)
                disk.writev(start, [view[:cut], view[cut:]])
        disk.flush()
        assert disk.read(0, disk.size) == content
        disk.discard(0, MIB)
    raw = tmp_path / "back.raw"
    back = ["qemu-img", "convert", "-f", format, "-O", "raw", str(path), str(raw)]
    subprocess.run(back, check=True, timeout=60)
    assert raw.read_bytes()[MIB:] == content[MIB:]


@needs_qemu_nbd
def test_what_the_server_does_not_allow(image: Path, socket: Path) -> None:
    with qemu_nbd(socket, "-f", "raw", "-r", "-x", "export", str(image)):
        with pytest.raises(BimetalError, match="only read") as caught:
            open_disk(uri(socket, "export"))
        assert "readonly" in caught.value.remedy
        with pytest.raises(BimetalError, match="no export 'another'"):
            open_disk(uri(socket, "another"), readonly=True)
        with contextlib.closing(open_disk(uri(socket, "export"), snapshot=True)) as disk:
            disk.write(0, b"\1" * 512)
            assert disk.read(0, 1024) == b"\1" * 512 + image.read_bytes()[512:1024]
        with contextlib.closing(open_disk(uri(socket, "export"), readonly=True)) as disk:
            with pytest.raises(OSError, match="read-only"):
                disk.write(0, bytes(512))
            assert disk.read(0, 512) == image.read_bytes()[:512], "the connection is as it was"


def test_no_server_is_told(tmp_path: Path, image: Path) -> None:
    for address in (uri(tmp_path / "nobody"), "nbd://127.0.0.1:1"):
        with pytest.raises(BimetalError, match="no disk from") as caught:
            open_disk(address)
        assert caught.value.exit_code == ExitCode.UNAVAILABLE
    with pytest.raises(BimetalError, match="is raw, not qcow2") as caught:
        open_disk("nbd://127.0.0.1:1", format="qcow2")
    assert caught.value.exit_code == ExitCode.USAGE


def test_what_is_served_is_raw_whatever_it_looks_like(tmp_path: Path, image: Path) -> None:
    """The guest of another day wrote it."""
    with image.open("r+b") as file:
        file.write(b"QFI\xfb\0\0\0\3")
    with served(image, format="raw") as address, contextlib.closing(open_disk(address)) as disk:
        assert disk.read(0, 8) == b"QFI\xfb\0\0\0\3"


# Servers that end


@needs_qemu_nbd
def test_a_server_that_comes_back_is_found_again(image: Path, socket: Path) -> None:
    words = ("-f", "raw", str(image))
    with contextlib.ExitStack() as stack:
        with qemu_nbd(socket, *words):
            disk = stack.enter_context(contextlib.closing(open_disk(uri(socket))))
            disk.write(0, b"\1" * 512)
            disk.flush()
        socket.unlink(missing_ok=True)
        socket.with_suffix(".pid").unlink(missing_ok=True)
        with qemu_nbd(socket, *words):
            assert disk.read(0, 512) == b"\1" * 512
            disk.write(512, b"\2" * 512)
            disk.flush()
            disk.close()
    assert image.read_bytes()[:1024] == b"\1" * 512 + b"\2" * 512


@needs_qemu_nbd
def test_what_was_not_flushed_is_not_called_safe(image: Path, socket: Path) -> None:
    words = ("-f", "raw", str(image))
    with contextlib.ExitStack() as stack:
        with qemu_nbd(socket, *words):
            disk = stack.enter_context(contextlib.closing(open_disk(uri(socket))))
            disk.write(0, b"\1" * 512)
        socket.unlink(missing_ok=True)
        socket.with_suffix(".pid").unlink(missing_ok=True)
        with qemu_nbd(socket, *words):
            disk.write(4096, b"\2" * 512)
            assert disk.read(4096, 512) == b"\2" * 512, "it can be used, to save what is there"
            for _ in range(2):
                with pytest.raises(OSError, match="not flushed"):
                    disk.flush()


@needs_qemu_nbd
def test_a_server_that_is_gone_is_an_io_error(image: Path, socket: Path) -> None:
    with qemu_nbd(socket, "-f", "raw", str(image)):
        disk = open_disk(uri(socket))
    for _ in range(3):
        with pytest.raises(OSError, match="NBD server"):
            disk.read(0, 512)
    disk.close()
    disk.close()


@needs_qemu_nbd
def test_another_disk_at_the_same_address_is_not_taken(
    tmp_path: Path, image: Path, socket: Path
) -> None:
    other = tmp_path / "other.raw"
    other.write_bytes(bytes(MIB))
    with qemu_nbd(socket, "-f", "raw", str(image)):
        disk = open_disk(uri(socket))
    socket.unlink(missing_ok=True)
    socket.with_suffix(".pid").unlink(missing_ok=True)
    with qemu_nbd(socket, "-f", "raw", str(other)):
        with pytest.raises(OSError, match="another disk"):
            disk.write(0, b"\1" * 512)
        disk.close()
    assert not any(other.read_bytes())


def test_our_server_and_our_disk(tmp_path: Path, image: Path) -> None:
    with served(image) as address, contextlib.closing(open_disk(address)) as disk:
        assert isinstance(disk, NbdDisk)
        assert disk.read(0, disk.size) == image.read_bytes()
        disk.write(1000, b"\1" * 3 * MIB)
        disk.write_zeroes(2000, MIB)
        disk.discard(4 * MIB, MIB)
        disk.flush()
        assert disk.read(1000, 1000) == b"\1" * 1000
        with pytest.raises(OSError, match="behind the end"):
            disk.read(disk.size - 512, 1024)
        with pytest.raises(OSError, match="behind the end") as caught:
            disk.write(disk.size - 512, bytes(1024))
        assert caught.value.errno == errno.ENOSPC
    data = image.read_bytes()
    assert (data[999:2000], data[2000 : 2000 + MIB]) == (data[999:1000] + b"\1" * 1000, bytes(MIB))
