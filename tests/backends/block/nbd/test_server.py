"""Our NBD server: other programs read, write and look at what it serves."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.nbd import answering
from bimetal.backends.block.nbd.serving import ServedImage
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.block.nbd.serving import MIB, served
from tests.host import programs

needs_qemu = programs("qemu-img", "qemu-io")


def qemu_io(address: str, *orders: str, readonly: bool = False) -> str:
    words = [word for order in orders for word in ("-c", order)]
    command = ["qemu-io", "-f", "raw", *(["-r"] if readonly else []), *words, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Noise in its first MiB, and a hole behind."""
    path = tmp_path / "disk.raw"
    path.write_bytes(os.urandom(MIB))
    os.truncate(path, 4 * MIB)
    return path


@needs_qemu
@pytest.mark.parametrize("format", ["raw", "qcow2", "vmdk"])
def test_qemu_sees_the_disk(tmp_path: Path, image: Path, format: str) -> None:
    path = tmp_path / f"other.{format}"
    order = ["qemu-img", "convert", "-f", "raw", "-O", format, str(image), str(path)]
    subprocess.run(order, check=True, timeout=60)
    with served(path, format=format, readonly=True, shared=2) as address:
        compare = ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(image), address]
        done = subprocess.run(compare, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        shape = ["qemu-img", "map", "-f", "raw", "--output", "json", address]
        parts = json.loads(subprocess.run(shape, capture_output=True, timeout=60).stdout)
        zero = sum(part["length"] for part in parts if part["zero"])
        assert zero == 3 * MIB, "the client is told where the holes are"


@needs_qemu
@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_what_qemu_writes_is_in_the_image(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"disk.{format}"
    create = ["qemu-img", "create", "-q", "-f", format, str(path), "64M"]
    subprocess.run(create, check=True, timeout=60)
    with served(path) as address:
        told = qemu_io(
            address, "write -P 1 0 40M", "write -P 2 1000 3000", "write -z 20M 8M",
            "write -z -u 30M 1M", "discard 32M 1M", "flush", "write -f -P 3 63M 1M",
            "read -P 1 4096 4096", "read -P 2 1000 3000", "read -P 0 20M 8M", "read -P 0 30M 1M",
        )  # fmt: skip
        assert "fail" not in told
        assert "error" not in told.lower()
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        data = disk.read(0, disk.size)
    assert data[:1000] == b"\1" * 1000
    assert data[1000:4000] == b"\2" * 3000
    assert data[4000 : 20 * MIB] == b"\1" * (20 * MIB - 4000)
    assert not any(data[20 * MIB : 28 * MIB])
    assert data[63 * MIB :] == b"\3" * MIB
    if format == "qcow2":
        check = ["qemu-img", "check", "-f", "qcow2", str(path)]
        subprocess.run(check, check=True, timeout=60, capture_output=True)


@needs_qemu
def test_a_read_only_export_is_not_written(image: Path) -> None:
    before = image.read_bytes()
    with served(image, readonly=True) as address:
        told = qemu_io(address, "write 0 512")
        assert "denied" in told or "Read-only" in told
        assert "read 512" in qemu_io(address, "read 0 512", readonly=True)
    assert image.read_bytes() == before


@needs_qemu
def test_what_is_written_to_a_snapshot_is_forgotten(image: Path) -> None:
    before = image.read_bytes()
    with served(image, snapshot=True) as address:
        assert "fail" not in qemu_io(address, "write -P 7 0 1M", "read -P 7 0 1M")
    assert image.read_bytes() == before


@programs("nbdinfo")
def test_libnbd_understands_it(image: Path) -> None:
    with served(image, name="a disk", shared=2) as address:
        done = subprocess.run(
            ["nbdinfo", "--json", address], capture_output=True, text=True, timeout=60, check=True
        )
        told = json.loads(done.stdout)
        (export,) = told["exports"]
        assert told["protocol"] == "newstyle-fixed"
        assert told["structured"] is True
        assert export["export-size"] == 4 * MIB
        assert export["contexts"] == ["base:allocation"]
        assert export["block_size_maximum"] == 32 * MIB
        assert (export["is_read_only"], export["can_flush"], export["can_trim"]) == (
            False, True, True,
        )  # fmt: skip
        listed = subprocess.run(
            ["nbdinfo", "--list", address], capture_output=True, text=True, timeout=60, check=True
        )
        assert 'export="a disk"' in listed.stdout
        wrong = address.replace("a%20disk", "another")
        refused = subprocess.run(["nbdinfo", wrong], capture_output=True, text=True, timeout=60)
        assert refused.returncode != 0
        assert "another" in refused.stderr


@programs("nbdcopy")
def test_libnbd_copies_with_many_requests_at_a_time(tmp_path: Path, image: Path) -> None:
    copy = tmp_path / "copy.raw"
    with served(image, readonly=True, shared=4) as address:
        command = ["nbdcopy", "--connections=4", "--requests=64", address, str(copy)]
        subprocess.run(command, check=True, timeout=120)
    assert copy.read_bytes() == image.read_bytes()


# Addresses and clients


def test_tcp_is_for_this_machine_only(image: Path) -> None:
    with served(image, port=0) as address:
        assert address.startswith("nbd://127.0.0.1:")
        with contextlib.closing(open_disk(address)) as disk:
            assert disk.read(0, MIB) == image.read_bytes()[:MIB]


def test_an_address_in_use_is_told(tmp_path: Path, image: Path) -> None:
    with served(image, port=0, readonly=True) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(BimetalError, match="in use") as caught:
            ServedImage(str(image), port=port, readonly=True)
        assert caught.value.exit_code == ExitCode.UNAVAILABLE
    other = tmp_path / "a file"
    other.write_text("keep me")
    with pytest.raises(BimetalError, match="cannot listen"):
        ServedImage(str(image), socket=str(other))
    assert other.read_text() == "keep me"
    with contextlib.closing(open_disk(str(image))):
        pass  # it was closed again


def test_the_socket_is_removed_at_the_end_and_replaced_when_stale(
    tmp_path: Path, image: Path
) -> None:
    path = tmp_path / "nbd.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with served(image, socket=str(path)) as address:
        assert stat.S_ISSOCK(path.stat().st_mode)
        open_disk(address).close()
    assert not path.exists()


def test_a_path_may_be_longer_than_the_address_of_a_socket(tmp_path: Path, image: Path) -> None:
    path = tmp_path / ("long" * 30) / "nbd.sock"
    path.parent.mkdir()
    with served(image, socket=str(path)) as address:
        assert address.endswith("/nbd.sock")
        with contextlib.closing(open_disk(address)) as disk:
            assert disk.read(0, MIB) == image.read_bytes()[:MIB]
    assert not path.exists()


def test_nothing_is_left_of_a_server_that_cannot_be(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(reactor: Reactor, *rest: object, **more: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(Reactor, "watch", full)
    with pytest.raises(OSError, match="Too many open files"):
        ServedImage(str(image), socket=str(tmp_path / "nbd.sock"))
    assert not (tmp_path / "nbd.sock").exists()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_defect_ends_one_conversation_and_no_other(
    image: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check = answering._check

    def defective(export: Any, terms: Any, asked: answering.Asked) -> None:
        check(export, terms, asked)
        if asked.offset == 512:
            raise ValueError("nobody has foreseen that")

    monkeypatch.setattr(answering, "_check", defective)
    with served(image, shared=2) as address, contextlib.closing(open_disk(address)) as other:
        unlucky = open_disk(address)
        with pytest.raises(OSError, match=r"NBD|server"):
            unlucky.read(512, 512)
        unlucky.close()
        assert other.read(0, MIB) == image.read_bytes()[:MIB]
        with contextlib.closing(open_disk(address)) as another:
            assert another.read(0, 512) == image.read_bytes()[:512]
    assert "nobody has foreseen that" in caplog.text


def test_so_many_clients_and_no_more(image: Path) -> None:
    with served(image, shared=2, name="d") as address:
        first, second = open_disk(address), open_disk(address)
        with pytest.raises(BimetalError, match="in use by as many clients") as caught:
            open_disk(address)
        assert caught.value.exit_code == ExitCode.UNAVAILABLE
        first.write(0, b"\5" * 512)
        assert second.read(0, 512) == b"\5" * 512, "they see one disk"
        first.close()
        open_disk(address).close()
        second.close()


def test_idle_strangers_keep_nobody_out(tmp_path: Path, image: Path) -> None:
    with served(image) as address, contextlib.ExitStack() as stack:
        for _ in range(60):
            stranger = stack.enter_context(socket.socket(socket.AF_UNIX))
            stranger.connect(str(tmp_path / "nbd.sock"))
        with contextlib.closing(open_disk(address)) as disk:
            assert disk.read(0, MIB) == image.read_bytes()[:MIB]


def test_who_leaves_at_once_ends_nothing(tmp_path: Path, image: Path) -> None:
    with served(image) as address:
        for _ in range(200):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(tmp_path / "nbd.sock"))
        with contextlib.closing(open_disk(address)) as disk:
            assert disk.read(0, MIB) == image.read_bytes()[:MIB]


def test_a_client_that_takes_nothing_delays_nobody(tmp_path: Path, image: Path) -> None:
    """It asks for gigabytes and reads nothing of them; the server waits with the rest."""
    with served(image, shared=2) as address, socket.socket(socket.AF_UNIX) as greedy:
        greedy.connect(str(tmp_path / "nbd.sock"))
        greedy.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
        request = struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 4 * MIB)
        greedy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                greedy.send(request * 100)
        with contextlib.closing(open_disk(address)) as disk:
            for _ in range(20):
                assert disk.read(0, 4096) == image.read_bytes()[:4096]


@pytest.mark.parametrize("option", [{"shared": 0}, {"port": 70000}, {"name": "x" * 5000}])
def test_what_cannot_be_served(image: Path, option: dict[str, object]) -> None:
    with pytest.raises(BimetalError, match="is not served") as caught:
        ServedImage(str(image), **option)  # type: ignore[arg-type]
    assert caught.value.exit_code == ExitCode.USAGE
