"""Virtio devices as the drivers of a stock Linux kernel use them."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import Machine
from tests.boot.conftest import LIMIT, PROMPT, Fetch, Terminal, file_of_initrd, run_piped
from tests.host import programs

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]
GUESTS = {
    "debian-riscv64": "riscv64-linux-gnu-gcc",
    "debian-arm64": "aarch64-linux-gnu-gcc",
}
"""Guests, and what compiles programs for them."""

DISK_SIZE, CD_SIZE = 16 << 20, 1 << 20

PROGRAMS = Path(__file__).parent / "programs"


@programs(*GUESTS.values())
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * n) for n, name in enumerate(GUESTS)]
)
def test_the_devices_of_a_guest(terminal: Start, fetched: Fetch, tmp_path: Path, name: str) -> None:
    fetched(name)
    shared = tmp_path / "shared"
    (shared / "folder").mkdir(parents=True)
    (shared / "text").write_text("from the host")
    (shared / "out").symlink_to("/proc/cpuinfo")
    (tmp_path / "disk").write_bytes(b"first sector".ljust(DISK_SIZE, b"\0"))
    (tmp_path / "cd").write_bytes(b"a disc".ljust(CD_SIZE, b"x"))
    subprocess.run(
        [GUESTS[name], "-static", "-o", shared / "vsock", PROGRAMS / "vsock.c"], check=True
    )
    vm = terminal(
        name, "--append", "quiet", "--net", "none",  # there are eight slots
        "--share", f"{shared},tag=work", "--share", f"{shared},tag=safe,readonly",
        "--vsock", str(tmp_path / "sock"), "--balloon",
        "--disk", f"{tmp_path / 'disk'},bus=scsi,serial=BM-7", "--cdrom", str(tmp_path / "cd"),
        "--port", f"unix:{tmp_path / 'agent'},name=org.test.agent",
    )  # fmt: skip
    vm.expect(PROMPT)
    uses_a_shared_folder(vm, shared)
    uses_sockets(vm, tmp_path / "sock")
    uses_scsi(vm)
    uses_a_port(vm, tmp_path / "agent")
    gives_memory_back(vm)
    vm.send("exit\r")
    assert vm.end() == 0


def uses_a_shared_folder(vm: Terminal, shared: Path) -> None:
    """Mounts, reads, writes; the host's links are the guest's to follow."""
    vm.do(
        "mkdir /w /s; for tag in work safe; do mount -t 9p -o trans=virtio $tag /${tag:0:1}; done"
    )
    assert vm.do("cat /w/text") == "from the host"
    assert "Read-only file system" in vm.do("echo no > /s/text", status=1)
    vm.do("cmp /w/out /proc/cpuinfo")
    vm.do(
        "cd /w; cp /bin/busybox .; cmp busybox /bin/busybox; chown 3:4 busybox; chmod 4711 busybox"
    )
    vm.do("mknod null c 1 3 && echo gone > null; ln -s text link; ln text hard; mv folder renamed")
    assert vm.do("stat -c '%a %u %g' busybox; cat link; ls -d renamed").split("\n") == [
        "4711 3 4",
        "from the hostrenamed",
    ]
    vm.do("for i in $(seq 100); do echo $i > renamed/$i; done")
    assert vm.do("ls /s/renamed | wc -l; cat /s/renamed/77").split() == ["100", "77"]
    assert (shared / "busybox").stat().st_mode & 0o7777 == 0o600
    assert (shared / "hard").samefile(shared / "text")
    assert len(os.listdir(shared / "renamed")) == 100


def send_all(client: socket.socket, data: bytes) -> None:
    """Send ``data``, and that nothing follows."""
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


def uses_sockets(vm: Terminal, path: Path) -> None:
    """Connections begin on either side, and carry more than there is room for on the way."""
    data = bytes(range(256)) * 4096
    vm.send("/w/vsock echo 22 > /heard 2>&1 & until grep listening /heard; do :; done\r")
    vm.expect(PROMPT)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT)
        client.connect(str(path))
        client.sendall(b"CONNECT 22\n")
        heard = client.makefile("rb")
        assert heard.readline().startswith(b"OK ")
        sender = threading.Thread(target=send_all, args=(client, data))
        sender.start()
        assert heard.read() == data
        sender.join()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(LIMIT)
        listener.bind(f"{path}_1000")
        listener.listen()
        vm.send("head -c 300000 /bin/busybox | /w/vsock dial 1000 | head -n 1\r")
        client, _ = listener.accept()
        with client:
            client.settimeout(LIMIT)
            assert len(client.makefile("rb").read()) == 300_000
            client.sendall(b"heard all of it\n")
        vm.expect("heard all of it")
        vm.expect(PROMPT)
    assert "Connection reset" in vm.do("/w/vsock dial 1001 < /dev/null", status=1)


def uses_scsi(vm: Terminal) -> None:
    """A disk with thin provisioning, and a drive."""
    vm.do("modprobe sd_mod; modprobe sr_mod")
    assert vm.do("cat /sys/block/sda/size") == str(DISK_SIZE // 512)
    assert vm.do("head -c 12 /dev/sda") == "first sector"
    assert vm.do("cat /sys/block/sda/device/model").strip() == "DISK"
    assert vm.do("cat /sys/block/sda/queue/discard_max_bytes") != "0"
    vm.do(
        "mke2fs -q /dev/sda && mount -t ext4 /dev/sda /mnt && cp /bin/busybox /mnt && umount /mnt"
    )
    vm.do("mount -t ext4 /dev/sda /mnt && cmp /bin/busybox /mnt/busybox && umount /mnt")
    assert vm.do("cat /sys/block/sr0/size") == str(CD_SIZE // 512)
    assert vm.do("head -c 6 /dev/sr0; wc -c < /dev/sr0").split("disc") == ["a ", str(CD_SIZE)]


def uses_a_port(vm: Terminal, path: Path) -> None:
    """Lines go both ways between the port of that name and whoever is at its socket."""
    vm.do("name=$(grep -l org.test.agent /sys/class/virtio-ports/*/name)")
    vm.do("name=${name%/name}; port=/dev/${name##*/}")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT)
        client.connect(str(path))
        client.sendall(b"from the host\n")
        assert vm.do("head -n 1 $port") == "from the host"
        vm.do("echo from the guest > $port")
        assert client.makefile().readline() == "from the guest\n"


def gives_memory_back(vm: Terminal) -> None:
    """What a file in memory took is the host's again once it is deleted."""
    size = 100 << 20
    vm.do(f"head -c {size} /dev/zero > /tmp/big")
    full = vm.memory()
    vm.do("rm /tmp/big")
    while vm.memory() > full - size // 2:
        vm.do("sleep 1")


@pytest.mark.slow
@pytest.mark.parametrize("name", GUESTS)
def test_a_balloon(fetched: Fetch, name: str) -> None:
    guest = fetched(name)
    with Machine(
        guest.board, kernel=guest.kernel, initrd=guest.initrd, append=guest.append, memory="512M"
    ) as vm:
        balloon = vm.balloon()
        vm.start()
        vm.console.expect(PROMPT, timeout=LIMIT)
        told = balloon.statistics(timeout=LIMIT)
        assert 300 << 20 < told["free_memory"] < told["total_memory"] < 512 << 20
        assert balloon.memory == 512 << 20
        balloon.resize("200M")
        while balloon.memory > 200 << 20:
            balloon.statistics(timeout=LIMIT)
        assert balloon.statistics(timeout=LIMIT)["free_memory"] < told["free_memory"] - (250 << 20)
        balloon.resize("512M")
        while balloon.memory < 512 << 20:
            balloon.statistics(timeout=LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("name", GUESTS)
def test_media_are_changed(fetched: Fetch, tmp_path: Path, name: str) -> None:
    guest = fetched(name)
    for disc in ("first", "second"):
        (tmp_path / disc).write_bytes(f"the {disc} disc\n".encode().ljust(CD_SIZE, b"x"))
    with Machine(
        guest.board, kernel=guest.kernel, initrd=guest.initrd, append=guest.append, memory="256M"
    ) as vm:
        drive = vm.cdrom()
        vm.start()
        vm.console.expect(PROMPT, timeout=LIMIT)
        vm.console.sendline("modprobe sr_mod; head -n 1 /dev/sr0")
        vm.console.expect("No medium found", timeout=LIMIT)
        for disc in ("first", "second"):
            drive.insert(tmp_path / disc)
            vm.console.sendline("head -n 1 /dev/sr0")
            vm.console.expect(f"the {disc} disc", timeout=LIMIT)
        drive.eject()
        vm.console.sendline("head -n 1 /dev/sr0")
        vm.console.expect("No medium found", timeout=LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("name", GUESTS)
def test_a_shared_folder_as_root_file_system(fetched: Fetch, tmp_path: Path, name: str) -> None:
    guest = fetched(name)
    assert guest.initrd is not None
    for folder in ("bin", "sbin", "proc", "sys", "dev"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin/busybox").write_bytes(file_of_initrd(guest.initrd, "bin/busybox"))
    (tmp_path / "bin/sh").symlink_to("busybox")
    (tmp_path / "sbin/init").write_text(
        "#!/bin/sh\nread -r root type rest </proc/mounts\ngrep ' / ' /proc/mounts\n"
        "echo from the root > /written\nexec /bin/busybox poweroff -f\n"
    )
    for path in ("bin/busybox", "sbin/init"):
        (tmp_path / path).chmod(0o755)
    done = run_piped(name, "--append", "quiet bmroot=9p:root", "--share", f"{tmp_path},tag=root",
                     "--serial", "stdio", typed="")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "root / 9p rw" in done.stdout
    assert (tmp_path / "written").read_text() == "from the root\n"
