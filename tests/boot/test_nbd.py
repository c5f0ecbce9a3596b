"""A Linux guest with a disk from an NBD server, which is started anew under it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import images
from tests.backends.block.nbd.serving import qemu_nbd, served
from tests.boot.conftest import PROMPT, Fetch, Terminal
from tests.host import programs

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Start = Callable[..., Terminal]
SIZE = 16 << 20
FILE = b"bimetal\n" * (1 << 19)


def write_and_read(vm: Terminal) -> None:
    """4 MiB, many requests at a time, past the guest's page cache."""
    vm.do("yes bimetal | head -c 4194304 | dd of=/dev/vda bs=64k seek=64 conv=notrunc,fsync")
    vm.do("echo 1 > /proc/sys/vm/drop_caches")
    read = vm.do("dd if=/dev/vda bs=64k skip=64 count=64 2>/dev/null | md5sum")
    assert read.split()[0] == hashlib.md5(FILE).hexdigest()


@programs("qemu-nbd", "qemu-img")
def test_a_disk_of_qemus_server(terminal: Start, fetched: Fetch, tmp_path: Path) -> None:
    fetched("debian-riscv64")
    image, copy, socket = (tmp_path / name for name in ("d.qcow2", "copy.img", "nbd.sock"))
    images.create(str(image), SIZE, format="qcow2")
    with qemu_nbd(socket, "-f", "qcow2", str(image)):
        disk = f"nbd+unix://?socket={socket}"
        vm = terminal("debian-riscv64", "--append", "quiet", "--disk", disk)
        vm.expect(PROMPT)
        assert vm.do("cat /sys/block/vda/size") == str(SIZE // 512)
        write_and_read(vm)
    socket.with_suffix(".pid").unlink(missing_ok=True)
    with qemu_nbd(socket, "-f", "qcow2", str(image)):
        vm.do("echo 1 > /proc/sys/vm/drop_caches")
        told = vm.do("dd if=/dev/vda bs=4k skip=1024 count=1 2>/dev/null | head -n 1")
        assert "there is a new connection to the NBD server" in told
        assert told.endswith("bimetal")
        vm.send("exit\r")
        assert vm.end() == 0
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, copy], check=True)
    assert copy.read_bytes() == bytes(4 << 20) + FILE + bytes(8 << 20)


def test_a_disk_of_our_server_in_a_guest_of_arm(
    terminal: Start, fetched: Fetch, tmp_path: Path
) -> None:
    fetched("debian-arm64")
    image = tmp_path / "d.img"
    image.write_bytes(bytes(SIZE))
    with served(image, format="raw") as address:
        vm = terminal("debian-arm64", "--append", "quiet", "--disk", address)
        vm.expect(PROMPT)
        write_and_read(vm)
        vm.send("exit\r")
        assert vm.end() == 0
    assert image.read_bytes() == bytes(4 << 20) + FILE + bytes(8 << 20)
