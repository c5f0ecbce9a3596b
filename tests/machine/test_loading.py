"""States in files that are loaded into machines which are there already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending
from tests.machine.conftest import LIMIT, Script
from tests.machine.test_loop import RAM, UART, power_off, store
from tests.machine.test_snapshots import DISK, busy, disk_of, paused, with_disk


def quiet(script: Script, **options: object) -> Machine:
    vm = paused(script([store(UART, ord("a"), 1), busy], **options), after="a")
    vm.pause()
    return vm


def test_memory_devices_and_layers_go_back(script: Script, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(DISK)
    vm = with_disk(script, image, snapshot=True)
    vm.pause()
    vm.memory.write(RAM + 0x5000, b"before" * 1000)
    with vm._gate.hold():
        disk_of(vm).write(0, b"before")
    vm.save(tmp_path / "snapshot")
    for _ in range(3):
        vm.memory.write(RAM + 0x5000, b"after!")
        vm.memory.write(RAM + 0x50_0000, b"after!")
        vm["uart@10000000"].write(7, 1, 0x5A)
        with vm._gate.hold():
            disk_of(vm).write(0x8000, b"after!")
        vm.load(tmp_path / "snapshot")
        assert vm.memory.read(RAM + 0x5000, 6000) == b"before" * 1000
        assert vm.memory.read(RAM + 0x50_0000, 6) == bytes(6)
        assert vm["uart@10000000"].SCR == 0
        assert disk_of(vm).read(0, 8) == b"before" + DISK[6:8]
        assert disk_of(vm).read(0x8000, 6) == DISK[0x8000:0x8006]
    vm.save(tmp_path / "another")  # what was loaded is all there
    vm.memory.write(RAM + 0x5000, b"after!")
    vm.load(tmp_path / "another")
    assert vm.memory.read(RAM + 0x5000, 6000) == b"before" * 1000


def test_a_machine_begins_in_a_state(script: Script, tmp_path: Path) -> None:
    vm = quiet(script)
    vm.memory.write(RAM + 0x5000, b"remember me")
    vm.save(tmp_path / "snapshot", stop=True)
    other = script([store(UART, 0, 1)] + [store(UART, ord("b"), 1), power_off(3)]).machine
    other.load(tmp_path / "snapshot")
    assert other.memory.read(RAM + 0x5000, 11) == b"remember me"
    other.start()
    assert other.wait(LIMIT).code == 3


def test_other_machines_are_refused_and_stay_as_they_are(script: Script, tmp_path: Path) -> None:
    quiet(script).save(tmp_path / "snapshot")
    for options, why in (
        ({"memory": "16M"}, "its memory is 64 MiB, not 16 MiB"),
        ({"cpus": 2}, "its number of CPUs is 1, not 2"),
    ):
        vm = script(*[[busy]] * 2, **options).machine
        vm.start()
        with pytest.raises(BimetalError, match=why) as caught:
            vm.load(tmp_path / "snapshot")
        assert caught.value.exit_code == ExitCode.USAGE
        assert vm.running


def test_other_devices_are_refused(script: Script, tmp_path: Path) -> None:
    quiet(script).save(tmp_path / "snapshot")
    (tmp_path / "disk").write_bytes(DISK)
    board = script([busy])
    board.machine.disk(tmp_path / "disk")
    board.machine.start()
    with pytest.raises(BimetalError, match="its equipment is none, not disk"):
        board.machine.load(tmp_path / "snapshot")
    assert board.machine.running


def test_damage_is_found_before_anything_is_changed(script: Script, tmp_path: Path) -> None:
    vm, path = quiet(script), tmp_path / "snapshot"
    vm.memory.write(RAM + 0x5000, b"saved")
    vm.save(path)
    vm.load(path)
    vm.memory.write(RAM + 0x5000, b"newer")
    data = bytearray(path.read_bytes())
    data[data.index(b"saved")] ^= 1
    path.write_bytes(data)
    with pytest.raises(BimetalError, match="is damaged"):
        vm.load(path)
    assert vm.memory.read(RAM + 0x5000, 5) == b"newer"
    assert vm.running


def test_a_disk_that_was_written_to_does_not_belong_to_it(script: Script, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(DISK)
    vm = with_disk(script, image)
    vm.save(tmp_path / "snapshot")
    vm.load(tmp_path / "snapshot")
    with vm._gate.hold():
        disk_of(vm).write(0, b"newer")
    os.utime(image, ns=(0, 0))
    with pytest.raises(BimetalError, match="has changed since the machine was saved"):
        vm.load(tmp_path / "snapshot")
    vm.stop()
    with pytest.raises(BimetalError, match="no state can be loaded"):
        vm.load(tmp_path / "snapshot")
    assert vm.wait(LIMIT).ending is Ending.STOPPED
