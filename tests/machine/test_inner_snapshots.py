"""States of machines that lie in their qcow2 disks, beside what `qemu-img` sees there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending
from tests.host import need
from tests.machine.conftest import LIMIT, Script
from tests.machine.test_loop import RAM, UART, power_off, store
from tests.machine.test_snapshots import DISK, busy, paused

SIZE = 16 << 20


def image(path: Path, *options: str) -> Path:
    need("qemu-img")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "16M"], check=True)
    return path


def seen_by_qemu(path: Path) -> list[dict[str, Any]]:
    """The snapshots in a closed, or open, image, which must be sound."""
    subprocess.run(["qemu-img", "check", "-q", "-U", path], check=True)
    command = ["qemu-img", "info", "-U", "--output=json", str(path)]
    found = subprocess.run(command, check=True, capture_output=True).stdout
    snapshots: list[dict[str, Any]] = json.loads(found).get("snapshots", [])
    return snapshots


def with_disks(script: Script, *paths: Path, start: bool = True, **options: Any) -> Machine:
    board = script([store(UART, ord("a"), 1), busy])
    for path in paths:
        board.machine.disk(path, **options)
    if start:
        paused(board, after="a").pause()
    return board.machine


def disk(vm: Machine, number: int = 0) -> Any:
    hardware = vm._parts.hardware
    assert hardware is not None
    disks = [each for placement in hardware.placements for each in placement.device.stored()]
    return disks[number]


def write(vm: Machine, data: bytes, number: int = 0) -> None:
    with vm._gate.hold():
        disk(vm, number).write(0x1_2345, data)


def read(vm: Machine, number: int = 0) -> bytes:
    with vm._gate.hold():
        return bytes(disk(vm, number).read(0x1_2345, 6))


@pytest.mark.parametrize(
    "options", [[], ["-o", "cluster_size=512"], ["-o", "extended_l2=on"], ["-o", "compat=0.10"]]
)
def test_memory_and_disks_go_back(options: list[str], script: Script, tmp_path: Path) -> None:
    one, two = image(tmp_path / "1.qcow2", *options), image(tmp_path / "2.qcow2")
    vm = with_disks(script, one, two)
    for number, content in enumerate((b"first!", b"second")):
        vm.memory.write(RAM + 0x5000, content)
        write(vm, content)
        write(vm, content, 1)
        vm.savevm(f"state {number}")
    assert vm.snapshots == ["state 0", "state 1"]
    for content, name in ((b"first!", "state 0"), (b"second", "state 1"), (b"first!", "state 0")):
        write(vm, b"newest")
        vm.memory.write(RAM + 0x5000, b"newest")
        vm.loadvm(name)
        assert vm.memory.read(RAM + 0x5000, 6) == read(vm) == read(vm, 1) == content
    vm.close()
    for path, states in ((one, True), (two, False)):
        found = seen_by_qemu(path)
        assert [each["name"] for each in found] == ["state 0", "state 1"]
        assert all(bool(each["vm-state-size"]) is states for each in found)
    subprocess.run(["qemu-img", "snapshot", "-d", "state 0", one], check=True)
    assert [each["name"] for each in seen_by_qemu(one)] == ["state 1"]


def test_a_new_machine_begins_in_a_state(script: Script, tmp_path: Path) -> None:
    path = image(tmp_path / "1.qcow2")
    vm = with_disks(script, path)
    vm.memory.write(RAM + 0x5000, b"remember me")
    write(vm, b"saved!")
    vm.savevm("ready", stop=True)
    assert vm.wait(LIMIT).ending is Ending.STOPPED
    vm.close()
    board = script([store(UART, 0, 1)] + [store(UART, ord("b"), 1), power_off(3)])
    board.machine.disk(path)
    board.machine.loadvm("ready")
    assert board.machine.memory.read(RAM + 0x5000, 11) == b"remember me"
    assert read(board.machine) == b"saved!"
    board.machine.start()
    assert board.machine.wait(LIMIT).code == 3


def test_names_are_used_again_and_forgotten(script: Script, tmp_path: Path) -> None:
    path = image(tmp_path / "1.qcow2")
    vm = with_disks(script, path)
    vm.savevm("other")
    for content in (b"older!", b"newer!"):
        write(vm, content)
        vm.savevm("ready")
    assert vm.snapshots == ["other", "ready"]
    write(vm, b"newest")
    vm.loadvm("ready")
    assert read(vm) == b"newer!"
    vm.delvm("ready")
    with pytest.raises(BimetalError, match=r"no snapshot 'ready' \(it has 'other'\)"):
        vm.loadvm("ready")
    with pytest.raises(BimetalError, match="no snapshot 'ready'"):
        vm.delvm("ready")
    assert read(vm) == b"newer!"
    vm.delvm("other")
    vm.close()
    assert seen_by_qemu(path) == []
    # What the states took is free again, and used for the next one.
    before = path.stat().st_size
    vm = with_disks(script, path)
    vm.savevm("another")
    vm.close()
    assert path.stat().st_size <= before + (1 << 20)


def test_temporary_layers_are_in_the_state(script: Script, tmp_path: Path) -> None:
    base = tmp_path / "raw"
    base.write_bytes(DISK + bytes(SIZE - len(DISK)))
    board = script([store(UART, ord("a"), 1), busy])
    board.machine.disk(base, snapshot=True)
    board.machine.disk(image(tmp_path / "1.qcow2"))
    vm = paused(board, after="a")
    vm.pause()
    write(vm, b"layer!")
    vm.savevm("ready")
    write(vm, b"newest")
    vm.loadvm("ready")
    assert read(vm) == b"layer!"


def test_what_cannot_be_kept_is_refused(script: Script, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(DISK)
    vm = with_disks(script, image(tmp_path / "1.qcow2"), raw)
    with pytest.raises(BimetalError, match=r"writes to .*raw, which can keep no snapshot"):
        vm.savevm("ready")
    vm = with_disks(script)
    with pytest.raises(BimetalError, match="no disk that could keep its state") as caught:
        vm.savevm("ready")
    assert caught.value.exit_code == ExitCode.USAGE
    path = image(tmp_path / "2.qcow2")
    subprocess.run(["qemu-img", "snapshot", "-c", "plain", path], check=True)
    vm = with_disks(script, path)
    with pytest.raises(BimetalError, match="is one of the disk only"):
        vm.loadvm("plain")
    with pytest.raises(BimetalError, match="cannot be the name"):
        vm.savevm("")
    assert vm.running
    assert vm.snapshots == []


def test_a_state_of_another_machine_changes_nothing(script: Script, tmp_path: Path) -> None:
    path = image(tmp_path / "1.qcow2")
    vm = with_disks(script, path)
    write(vm, b"saved!")
    vm.savevm("ready")
    write(vm, b"newer!")
    vm.close()
    vm = with_disks(script, path, image(tmp_path / "2.qcow2"))
    with pytest.raises(BimetalError, match="no snapshot 'ready'"):
        vm.loadvm("ready")
    assert read(vm) == b"newer!"
    assert vm.running
