"""Devices that come and go while the machine runs, and what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError
from bimetal.boards import Machine
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.machine.expect import TimedOut

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


def test_a_machine_is_not_saved_with_what_was_plugged_in(
    vm: Machine, image: Path, tmp_path: Path
) -> None:
    vm.start()
    name = vm.plug_disk(image)
    for keep in (partial(vm.save, tmp_path / "snapshot"), vm.checkpoint):
        with pytest.raises(BimetalError, match="plugged in while") as caught:
            keep()
        assert f"vm.unplug({name!r})" in caught.value.remedy
    assert not (tmp_path / "snapshot").exists()
