"""A Debian with systemd at work on its networks: what people do with a machine that has one."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bimetal import Machine
from tests.boot.conftest import LIMIT, Fetch
from tests.boot.debian import Debian, make_repository, net_root, net_root_image, serving
from tests.boot.test_user_network import free_port
from tests.host import programs

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ARCHS = ["riscv64", "arm64"]
SYSTEMD = f"systemd.show_status=0 systemd.default_device_timeout_sec={LIMIT}"
"""The terminal is there for whoever waits, on a busy host too: a minute and a half would be short,
with a rule for each of the machine's devices to be read and compiled before."""

MEGABYTES = 48
DISK = 4 << 20


def installs_a_package(vm: Debian, arch: str, folder: Path) -> None:
    """From a repository on the host, by apt, with what it depends on."""
    folder.mkdir()
    make_repository(folder, arch, "jq")
    with serving(folder) as port:
        vm.do("rm -f /etc/apt/sources.list.d/*")
        vm.do(f"echo 'deb [trusted=yes] http://10.0.2.2:{port} ./' > /etc/apt/sources.list")
        vm.do("apt-get -q update --error-on=any")
        assert "Setting up jq " in vm.do("DEBIAN_FRONTEND=noninteractive apt-get -q -y install jq")
    assert vm.do("echo '[20, 22]' | jq add") == "42"


@contextmanager
def listening() -> Iterator[int]:
    """An iperf3 server of the host; its port."""
    port = free_port()
    words = ["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(port), "--forceflush"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "listening" in line:
                break
        try:
            yield port
        finally:
            process.terminate()


def iperf3(vm: Debian, *words: str) -> dict[str, Any]:
    """What iperf3 in the guest reports at its end."""
    return summed(vm.do(f"iperf3 --json {' '.join(words)}"))


def summed(text: str) -> dict[str, Any]:
    """The sums of a report, which tells of no error."""
    told: dict[str, Any] = json.loads(text)
    assert "error" not in told, told["error"]
    result: dict[str, Any] = told["end"]
    return result


def measures_its_network(vm: Debian, port: int) -> None:
    """TCP in both directions, one after the other and at once, by connections of the guest and of
    the host, and a flood of datagrams from both sides, after which all goes on."""
    enough = MEGABYTES << 18  # what is on the way at the end is not counted
    with listening() as server:
        host = f"-c 10.0.2.2 -p {server}"
        for way in ("", "--reverse"):
            ended = iperf3(vm, host, f"-n {MEGABYTES}M", way)
            assert ended["sum_received"]["bytes"] > enough
        both = iperf3(vm, host, f"-n {MEGABYTES}M", "--bidir")
        assert both["sum_received"]["bytes"] > 1 << 20  # both end when one has sent its bytes
        assert both["sum_received_bidir_reverse"]["bytes"] > 1 << 20
        flood = iperf3(vm, host, "-t 3", "--udp --bitrate 0 --bidir")
        assert flood["sum_received"]["packets"] > 0
        assert flood["sum_received_bidir_reverse"]["packets"] > 0
    vm.do("ping -q -c 2 10.0.2.2")
    words = ["iperf3", "--json", "-c", "127.0.0.1", "-p", str(port), "-n", f"{MEGABYTES}M"]
    for more in ([], ["--reverse"]):
        vm.do("iperf3 --server --one-off --daemon; until ss -ltn | grep :5201; do sleep 0.5; done")
        done = subprocess.run(
            [*words, *more], capture_output=True, check=False, text=True, timeout=LIMIT
        )
        assert summed(done.stdout)["sum_received"]["bytes"] > enough
        vm.do("while ss -ltn | grep :5201; do sleep 0.5; done")


def is_logged_into(vm: Debian, arch: str, port: int, folder: Path) -> None:
    """By ssh from the host, with a key; a file goes in, and back."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    vm.do(f"mkdir -p -m 700 .ssh; echo '{public}' > .ssh/authorized_keys")
    known = f"UserKnownHostsFile={folder / 'known'}"
    words = ["ssh", "-i", str(key), "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", known]

    def ssh(command: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            [*words, "root@127.0.0.1", command],
            input=data, capture_output=True, check=False, timeout=LIMIT,
        )  # fmt: skip
        assert not done.returncode, done.stderr.decode() + vm.do("journalctl -u ssh; ss -ltn")
        return done.stdout

    assert arch in ssh("dpkg --print-architecture").decode()
    data = random.Random(1).randbytes(DISK)
    ssh("cat > file", data)
    assert ssh("cat file") == data


def plugs_and_unplugs(vm: Debian, machine: Machine, arch: str, folder: Path) -> None:
    """A disk and a NIC, which gets its address. Debian's kernel for RISC-V has no driver for hot
    plug: there, one says what has come and what is to go."""
    image, new = folder / "late.img", "ls /sys/class/net; ls /dev/vd*"
    image.write_bytes(b"late" + bytes(DISK - 4))
    for round_ in range(2):
        there = set(vm.do(new).split())
        disk = machine.plug_disk(image, serial="LATE")
        nic = machine.plug_nic("user", net="10.0.9.0/24")
        if arch == "riscv64":
            vm.do("echo 1 > /sys/bus/pci/rescan")
        vm.do("until [ -b /dev/vdb ] && ip -4 addr | grep -q 10.0.9.15; do sleep 0.5; done")
        (card,) = {line for line in vm.do(new).split() if line not in there} - {"/dev/vdb"}
        assert vm.do("cat /sys/block/vdb/serial; head -c 4 /dev/vdb") == "LATElate"
        vm.do(f"ping -q -c 2 -I {card} 10.0.9.2")
        vm.do(f"printf round{round_} | dd of=/dev/vdb bs=512 seek=1 conv=notrunc,fsync status=none")
        if arch == "riscv64":
            for device in (f"/sys/class/net/{card}", "/sys/block/vdb"):
                vm.do(f'echo 1 > "$(readlink -f {device}/device)/../remove"')
        for device in (disk, nic):
            machine.unplug(device, timeout=LIMIT, force=arch == "riscv64")
        assert image.read_bytes()[512:518] == f"round{round_}".encode()
        vm.do(f"until [ ! -b /dev/vdb ] && [ ! -e /sys/class/net/{card} ]; do sleep 0.5; done")
        assert set(vm.do(new).split()) == there


@pytest.mark.parametrize("arch", ARCHS)
@programs("iperf3", "ssh")
def test_a_debian_uses_its_networks(fetched: Fetch, tmp_path: Path, arch: str) -> None:
    guest, disk = fetched(f"debian-{arch}"), net_root_image(arch)
    ssh, iperf = free_port(), free_port()
    with Machine(
        f"{guest.board},ports=2",
        memory="1G",
        kernel=guest.kernel,
        initrd=guest.initrd,
        append=f"{guest.append} quiet bmroot=/dev/vda {SYSTEMD}",
    ) as machine:
        machine.disk(disk, snapshot=True)
        machine.nic("user", hostfwd=[f"tcp::{ssh}-:22", f"tcp::{iperf}-:5201"])
        vm = Debian(machine)
        vm.do("until ip -4 route | grep -q '^default via 10.0.2.2'; do sleep 0.5; done")
        assert " 0% packet loss" in vm.do("ping -q -c 3 10.0.2.2")
        assert "10.0.2.2" in vm.do("until getent ahostsv4 _gateway; do sleep 0.5; done")
        installs_a_package(vm, arch, tmp_path / "packages")
        is_logged_into(vm, arch, ssh, tmp_path)
        measures_its_network(vm, iperf)
        plugs_and_unplugs(vm, machine, arch, tmp_path)
        assert vm.do("systemctl list-units --failed --no-legend --plain") == ""
        assert vm.do("dmesg | grep -e Oops -e BUG -e 'Call Trace'", status=1) == ""
        vm.power_off(machine)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_debian_whose_root_is_a_shared_folder(fetched: Fetch, tmp_path: Path, arch: str) -> None:
    """It boots, is used, has a package installed, and finds all that again."""
    guest, root = fetched(f"debian-{arch}"), tmp_path / "root"
    subprocess.run(["cp", "-a", net_root(arch), root], check=True)
    for boot in range(2):
        with Machine(
            guest.board,
            memory="1G",
            kernel=guest.kernel,
            initrd=guest.initrd,
            append=f"{guest.append} quiet bmroot=9p:root {SYSTEMD}",
        ) as machine:
            machine.share(root, tag="root")
            machine.nic("user")
            vm = Debian(machine)
            assert vm.do("findmnt -n -o FSTYPE,SOURCE /").split() == ["9p", "root"]
            if boot == 0:
                vm.do("until ip -4 route | grep -q default; do sleep 0.5; done")
                installs_a_package(vm, arch, tmp_path / "packages")
                vm.do("useradd -m someone && su someone -c 'umask 027; echo mine > ~/file'")
            assert vm.do("echo '[20, 22]' | jq add") == "42"
            assert vm.do("stat -c '%U %a' ~someone/file; cat ~someone/file") == "someone 640\nmine"
            assert vm.do("systemctl list-units --failed --no-legend --plain") == ""
            vm.power_off(machine)
    assert (root / "home/someone/file").read_text() == "mine\n"
