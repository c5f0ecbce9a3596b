"""Devices that come and go while the machine runs, and what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.net import VirtioNet
from bimetal.machine.expect import TimedOut
from bimetal.machine.machine import Machine

OFF, LINK_CHANGED = 1 << 10, 1 << 8


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "late.img"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.fixture
def vm(kernel: Path) -> Iterator[Machine]:
    with made("riscv-virt,ports=2", kernel) as machine:
        yield machine


def slot_registers(port: Any) -> int:
    """Where the PCI Express capability of a port lies."""
    (at,) = (
        at
        for at in range(0x40, 0x100, 4)
        if port.read(at, 1) == 0x10 and port.read(at + 2, 2) == 0x142
    )
    return at


def made(board: str, kernel: Path, **options: Any) -> Machine:
    return Machine(
        board,
        memory="16M",
        kernel=kernel,
        kernel_format="raw",
        serial=NoChars(),
        accel=ScriptAccelerator([]),
        **options,
    )


def test_a_disk_is_there_until_it_is_taken_away(vm: Machine, image: Path) -> None:
    before = set(vm.devices)
    name = vm.plug_disk(image, readonly=True)
    assert set(vm.devices) - before == {name} == {"virtio_pci@port1"}
    assert vm.device(VirtioBlock).device_id == 2
    vm.unplug(name, force=True)
    assert set(vm.devices) == before
    vm.plug_disk(image)  # its lock is free again


def test_the_guest_lets_go(vm: Machine, image: Path) -> None:
    name = vm.plug_disk(image)
    port = vm["pci_port@00:1f.0"]
    with pytest.raises(TimedOut, match="has not let go"):
        vm.unplug(name, timeout=0.01)
    port.write(slot_registers(port) + 0x18, 2, OFF)
    assert name not in vm


def test_a_guest_that_has_not_noticed_is_told_again(kernel: Path, image: Path) -> None:
    clock = VirtualClock()
    with made("riscv-virt,ports=1", kernel, clock=clock) as vm:
        port = vm["pci_port@00:1f.0"]
        at = slot_registers(port)
        port.write(at + 0x18, 2, OFF)
        vm.plug_disk(image)
        told = 0
        for _ in range(200):
            port.write(at + 0x1A, 2, 0xFFFF)
            clock.advance(10**9)
            told += bool(port.read(at + 0x1A, 2) & LINK_CHANGED)
        assert told == 6, "after 1, 2, 4 and so on to 32 seconds"
        vm.unplug("virtio_pci@port1", force=True)
        vm.plug_disk(image)
        port.write(at + 0x18, 2, 0)
        port.write(at + 0x1A, 2, 0xFFFF)
        clock.advance(10**11)
        assert not port.read(at + 0x1A, 2) & LINK_CHANGED


def test_slots_run_out(vm: Machine, image: Path, tmp_path: Path) -> None:
    vm.plug_nic("user")
    vm.plug_disk(image)
    with pytest.raises(BimetalError, match="all 2 slots are taken"):
        vm.plug_disk(image)
    with pytest.raises(KeyError, match="no slot has a device 'uart"):
        vm.unplug("uart@10000000")
    assert (tmp_path / "late.img").exists()


def test_what_cannot_be_plugged_in(vm: Machine, image: Path) -> None:
    before = set(vm.devices)
    with pytest.raises(BimetalError, match=r"missing\.img"):
        vm.plug_disk("/missing.img")
    with pytest.raises(BimetalError, match="no network is no NIC"):
        vm.plug_nic("none")
    assert set(vm.devices) == before
    assert vm.plug_disk(image) == "virtio_pci@port1"


def test_a_board_without_slots(kernel: Path, image: Path) -> None:
    with made("riscv-virt", kernel) as vm, pytest.raises(BimetalError, match="no slots") as caught:
        vm.plug_disk(image)
    assert "ports=2" in caught.value.remedy


def test_a_closed_machine(kernel: Path, image: Path) -> None:
    vm = made("riscv-virt,ports=1", kernel)
    vm.close()
    with pytest.raises(BimetalError, match="closed"):
        vm.plug_disk(image)


def restored(path: Path) -> Machine:
    return Machine.restore(path, accel=ScriptAccelerator([]), serial=NoChars())


def bars(vm: Machine) -> list[int]:
    return [vm["virtio_pci@port1"].read(0x10 + 4 * number, 4) for number in range(6)]


def test_what_was_plugged_in_is_in_a_snapshot(kernel: Path, image: Path, tmp_path: Path) -> None:
    with made("riscv-virt,ports=2", kernel) as vm:
        vm.start()
        vm.pause()
        first = vm.plug_nic("user", mac="52:54:00:00:00:77")
        disk = vm.plug_disk(image, serial="LATE", snapshot=True)
        vm.unplug(first, force=True)
        nic = vm.plug_nic("user", mac="52:54:00:00:00:78")
        assert (nic, disk) == ("virtio_pci@port1", "virtio_pci@port2")
        vm[nic].write(0x20, 4, 0x4000_0000)  # where the guest has put its registers
        placed, port = bars(vm), vm["pci_port@00:1f.0"]
        happened = port.read(slot_registers(port) + 0x1A, 2)
        assert placed != [0] * 6
        vm.save(tmp_path / "snapshot")
    for _ in range(2):
        with restored(tmp_path / "snapshot") as again:
            assert {nic, disk} <= set(again.devices)
            assert bars(again) == placed
            assert again.device(VirtioNet).config[:6].hex(":") == "52:54:00:00:00:78"
            port = again["pci_port@00:1f.0"]
            assert port.read(slot_registers(port) + 0x1A, 2) == happened
            again.start()
            again.unplug(disk, force=True)
            assert again.plug_disk(image) == disk
            again.unplug(nic, force=True)


def test_what_is_on_usb_comes_back_however_it_was_plugged_in(kernel: Path, tmp_path: Path) -> None:
    with made("riscv-virt", kernel) as vm:
        vm.usb()
        vm.start()
        vm.pause()
        names = [vm.plug_input("tablet", socket=2), vm.plug_input("keyboard", socket=1)]
        assert names == ["usb2", "usb1"]
        vm.save(tmp_path / "snapshot")
    with restored(tmp_path / "snapshot") as again:
        again.unplug("usb1")
        again.unplug("usb2")


def test_slots_become_what_they_were(vm: Machine, image: Path, tmp_path: Path) -> None:
    vm.start()
    vm.pause()
    vm.save(tmp_path / "none")
    disk = vm.plug_disk(image, serial="ONE")
    vm.save(tmp_path / "one")
    vm.unplug(disk, force=True)
    nic = vm.plug_nic("user")
    assert nic == disk
    vm.load(tmp_path / "one")
    assert vm.device(VirtioBlock, disk).device_id == 2
    vm.load(tmp_path / "none")
    assert disk not in vm
    vm.load(tmp_path / "one")
    vm.unplug(disk, force=True)


def test_a_plugged_network_that_reaches_out_needs_trust(
    vm: Machine, image: Path, tmp_path: Path
) -> None:
    vm.start()
    vm.plug_nic("user,hostfwd=tcp:127.0.0.1:0-:22")
    vm.save(tmp_path / "snapshot")
    with pytest.raises(BimetalError, match="reaches more of this host"):
        restored(tmp_path / "snapshot")
    Machine.restore(
        tmp_path / "snapshot", accel=ScriptAccelerator([]), serial=NoChars(), trust=True
    ).close()


def test_a_checkpoint_has_the_slots_that_it_had(vm: Machine, image: Path) -> None:
    vm.start()
    disk = vm.plug_disk(image, readonly=True)
    vm.checkpoint()
    vm.rewind()
    vm.unplug(disk, force=True)
    with pytest.raises(BimetalError, match="other devices are plugged into the machine"):
        vm.rewind()
    vm.plug_disk(image, readonly=True)
    vm.rewind()
    assert disk in vm
