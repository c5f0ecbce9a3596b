"""Disks and NICs that come and go while Linux runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import Machine
from bimetal.machine.expect import TimedOut
from tests.boot.conftest import LIMIT, PROMPT, Fetch

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SIZE = 4 << 20


def say(vm: Machine, command: str, answer: str) -> None:
    """Type ``command``, and wait for ``answer`` and the prompt."""
    vm.console.sendline(command)
    vm.console.expect(answer, timeout=LIMIT)
    vm.console.expect(PROMPT, timeout=LIMIT)


@pytest.mark.parametrize("board", ["arm-virt", "arm-virt,gic=3,bus=pci"])
def test_a_disk_and_a_nic_come_and_go(fetched: Fetch, tmp_path: Path, board: str) -> None:
    guest = fetched("debian-arm64")
    image = tmp_path / "late.img"
    image.write_bytes(b"late" + bytes(SIZE - 4))
    with Machine(
        f"{board},ports=2", kernel=guest.kernel, initrd=guest.initrd, append=f"{guest.append} quiet"
    ) as vm:
        vm.start()
        vm.console.expect(PROMPT, timeout=LIMIT)
        say(vm, "modprobe virtio_blk; modprobe virtio_net; echo rea''dy", "ready")
        for round_ in range(2):
            disk = vm.plug_disk(image, serial="LATE")
            nic = vm.plug_nic("user", mac="52:54:00:00:00:77")
            assert {disk, nic} <= set(vm.devices)
            say(vm, "until [ -b /dev/vda ]; do sleep 0.1; done; head -c 4 /dev/vda; echo", "late")
            say(vm, "until [ -d /sys/class/net/eth0 ]; do sleep 0.1; done; echo he''re", "here")
            say(vm, "cat /sys/class/net/eth0/address", "52:54:00:00:00:77")
            say(
                vm,
                f"printf round{round_} | dd of=/dev/vda bs=512 seek=1 conv=notrunc; echo writ''ten",
                "written",
            )
            vm.unplug(disk, timeout=LIMIT)
            vm.unplug(nic, timeout=LIMIT)
            assert not {disk, nic} & set(vm.devices)
            assert image.read_bytes()[512:518] == f"round{round_}".encode()
            say(vm, "[ -b /dev/vda ] || [ -d /sys/class/net/eth0 ] || echo go''ne", "gone")
        say(vm, "dmesg | grep -c -e Oops -e BUG; echo cou''nted", "0")
        vm.console.sendline("poweroff -f")
        assert vm.wait(timeout=LIMIT).code == 0


def test_what_was_plugged_in_is_there_in_a_restored_machine(fetched: Fetch, tmp_path: Path) -> None:
    guest = fetched("debian-arm64")
    image = tmp_path / "late.img"
    image.write_bytes(b"late" + bytes(SIZE - 4))
    options = {"kernel": guest.kernel, "initrd": guest.initrd, "append": f"{guest.append} quiet"}
    with Machine("arm-virt,ports=2", **options) as vm:  # type: ignore[arg-type]
        vm.start()
        vm.console.expect(PROMPT, timeout=LIMIT)
        say(vm, "modprobe virtio_blk; modprobe virtio_net; echo rea''dy", "ready")
        disk = vm.plug_disk(image, serial="LATE")
        nic = vm.plug_nic("user", mac="52:54:00:00:00:77")
        say(
            vm,
            "until [ -b /dev/vda -a -d /sys/class/net/eth0 ]; do sleep 0.1; done; echo o''k",
            "ok",
        )
        vm.save(tmp_path / "snapshot", stop=True)
    with Machine.restore(tmp_path / "snapshot") as vm:
        vm.start()
        say(vm, "head -c 4 /dev/vda; echo", "late")
        say(
            vm,
            "printf again | dd of=/dev/vda bs=512 seek=1 conv=notrunc; echo writ''ten",
            "written",
        )
        say(vm, "cat /sys/class/net/eth0/address", "52:54:00:00:00:77")
        say(vm, "ip link set eth0 up; echo u''p", "up")
        vm.unplug(disk, timeout=LIMIT)
        vm.unplug(nic, timeout=LIMIT)
        assert image.read_bytes()[512:517] == b"again"
        say(vm, "[ -b /dev/vda ] || [ -d /sys/class/net/eth0 ] || echo go''ne", "gone")
        assert vm.plug_disk(image) == disk
        say(vm, "until [ -b /dev/vda ]; do sleep 0.1; done; head -c 4 /dev/vda; echo", "late")


def test_a_guest_without_a_driver_for_hot_plug(fetched: Fetch, tmp_path: Path) -> None:
    """It finds what was plugged in when it looks, and does not let go of it when it is asked."""
    guest = fetched("debian-riscv64")
    image = tmp_path / "late.img"
    image.write_bytes(b"late" + bytes(SIZE - 4))
    with Machine(
        "riscv-virt,ports=1",
        kernel=guest.kernel,
        initrd=guest.initrd,
        append=f"{guest.append} quiet",
    ) as vm:
        vm.start()
        vm.console.expect(PROMPT, timeout=LIMIT)
        disk = vm.plug_disk(image, snapshot=True)
        say(vm, "modprobe virtio_blk; echo 1 > /sys/bus/pci/rescan; echo rea''dy", "ready")
        say(vm, "until [ -b /dev/vda ]; do sleep 0.1; done; head -c 4 /dev/vda; echo", "late")
        with pytest.raises(TimedOut, match="has not let go"):
            vm.unplug(disk, timeout=0.5)
        say(vm, "head -c 4 /dev/vda; echo", "late")
        vm.unplug(disk, force=True)
        assert disk not in vm
        # Its driver waits for the end of a reset for ever when it is told to stop, so no power-off.
        say(vm, "echo ali''ve", "alive")
