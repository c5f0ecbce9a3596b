"""Saving machines and restoring them: what is kept, what is refused, and what stays as it was."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator, ScriptCpu, Step
from bimetal.backends.chars.null import NoChars
from bimetal.backends.handing import FDSETS
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending
from bimetal.seam import Exit, FirmwareCall, Mmio, Shutdown
from bimetal.snapshot.layout import Header
from bimetal.snapshot.plain import from_json, to_json
from bimetal.snapshot.reader import Reader
from tests.host import need
from tests.machine.conftest import LIMIT, Script, Scripted
from tests.machine.test_loop import HSM, RAM, RFENCE, UART, call, power_off, store

DISK = bytes(range(256)) * 256
BLK = 0x1000_1000

Restore = Callable[..., Machine]


@pytest.fixture
def restore(tmp_path: Path) -> Iterator[Restore]:
    """Restores the snapshot of the test; the machine is closed after it."""
    made: list[Machine] = []

    def restore(*scripts: list[Step], path: Path | None = None, **options: Any) -> Machine:
        options.setdefault("serial", NoChars())
        options.setdefault("clock", VirtualClock())
        accel = ScriptAccelerator(*scripts)
        vm = Machine.restore(path or tmp_path / "snapshot", accel=accel, **options)
        made.append(vm)
        return vm

    yield restore
    for vm in made:
        vm.close()


def paused(board: Scripted, *, after: str = "") -> Machine:
    """The machine, once its console has shown something."""
    vm = board.machine
    vm.start()
    if after:
        vm.console.expect(after, LIMIT)
    return vm


def busy(cpu: ScriptCpu) -> Exit:
    """A guest that never stops to read the serial port."""
    cpu.repeat()
    return Mmio(UART + 7, 1)


def test_a_machine_goes_on_elsewhere(script: Script, restore: Restore, tmp_path: Path) -> None:
    program: list[Step] = [store(UART, ord("a"), 1), store(UART + 7, 0x5A, 1), busy]
    board = script(program, memory="16M")
    vm = paused(board, after="a")
    vm.memory.write(RAM + 0x5000, b"remember me")
    board.clock.advance(123_456)
    vm.save(tmp_path / "snapshot", stop=True)
    assert vm.wait(LIMIT).ending is Ending.STOPPED

    read = [Mmio(UART + 7, 1), store(UART, ord("b"), 1), power_off(3)]
    clock = VirtualClock()
    again = restore([store(UART, 0, 1)] * 2 + read, clock=clock)
    assert again.config.memory == 16 << 20
    assert clock.now_ns() == 123_456
    assert again.memory.read(RAM + 0x5000, 11) == b"remember me"
    assert again["uart@10000000"].SCR == 0x5A
    again.start()
    assert again.wait(LIMIT).code == 3
    assert again.console.log == "b"


def test_the_guest_goes_on_and_can_be_saved_again(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    board = script([store(UART, ord("a"), 1), busy])
    vm = paused(board, after="a")
    vm.save(tmp_path / "snapshot")
    assert vm.running
    vm.save(tmp_path / "snapshot", compress=True)
    vm.pause()
    vm.save(tmp_path / "snapshot")
    vm.resume()
    assert vm.running
    restore().close()


def test_what_was_typed_and_not_read_is_kept(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    vm = paused(script([store(UART, ord("a"), 1), busy]), after="a")
    vm.console.send("typed ahead")
    vm.save(tmp_path / "snapshot", stop=True)
    again = restore()
    assert again.console._ring.typed == b"typed ahead"
    again.console.send("!")
    assert again.console._ring.typed == b"typed ahead!"


def test_an_ending_that_was_asked_for_is_kept(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    board = script([busy])
    vm = paused(board)
    vm.pause()
    with vm._gate.lock:
        vm._built().ask(Shutdown(code=7))
    vm.save(tmp_path / "snapshot", stop=True)
    again = restore([busy])
    again.start()
    assert again.wait(LIMIT).code == 7


def test_nothing_is_saved_in_the_middle_of_an_exit(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    """Harts that fence each other wait for each other inside of calls, whose answers belong to the
    state."""

    def fences() -> list[Step]:
        return [call(RFENCE, 1, 0, (1 << 64) - 1, 0, 0) for _ in range(3000)]

    board = script([call(HSM, 0, 1, RAM, 0), *fences(), busy], [*fences(), busy], memory="16M")
    vm = paused(board)
    for _ in range(200):
        with vm._gate.hold():
            asked = [cpu._asked for cpu in board.cpus]
        assert all(each.results for each in asked if isinstance(each, FirmwareCall))
    vm.save(tmp_path / "snapshot", stop=True)
    restore().close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(DISK)
    return path


def with_disk(script: Script, disk: Path, **options: Any) -> Machine:
    board = script([store(UART, ord("a"), 1), busy])
    board.machine.disk(disk, **options)
    return paused(board, after="a")


def test_disks_belong_to_the_state(
    script: Script, restore: Restore, disk: Path, tmp_path: Path
) -> None:
    vm = with_disk(script, disk, serial="D1")
    vm.save(tmp_path / "snapshot", stop=True)
    with pytest.raises(BimetalError, match="in use"):
        restore()
    vm.close()
    again = restore()
    assert again.config.disks[0].serial == "D1"
    assert again.config.disks[0].path == str(disk)
    again.close()
    os.utime(disk, ns=(0, 0))
    with pytest.raises(BimetalError, match="has changed since the machine was saved"):
        restore()
    disk.unlink()
    with pytest.raises(BimetalError, match=r"needs .*disk, which cannot be read: No such file"):
        restore()


def test_a_disk_that_cannot_be_made_safe_belongs_to_no_state(
    script: Script, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of a failure once (fsync(2)): whoever went on with the state would not
    hear that writes are lost."""
    vm = with_disk(script, disk)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as host:
        host.setattr("bimetal.backends.block.file.os.fdatasync", broken)
        with pytest.raises(BimetalError, match="cannot be made safe: an earlier flush"):
            vm.save(tmp_path / "snapshot", stop=True)
    with pytest.raises(BimetalError, match="cannot be made safe: an earlier flush failed"):
        vm.save(tmp_path / "snapshot")
    assert vm.running
    assert not (tmp_path / "snapshot").exists()


def test_a_disk_that_was_handed_over_belongs_to_the_state(
    script: Script, restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path /dev/fdset/N is in no folder, and whoever goes on with the machine hands the disk
    over once more."""
    (disk := tmp_path / "disk").write_bytes(DISK)
    descriptor = os.open(disk, os.O_RDWR)
    monkeypatch.setitem(FDSETS, 7, {descriptor: ""})
    board = script([busy])
    board.machine.disk("/dev/fdset/7", format="raw")
    vm = paused(board)
    vm.save(tmp_path / "snapshot", stop=True)
    vm.wait(LIMIT)
    vm.close()
    assert restore([power_off()]).drives()[0].path == "/dev/fdset/7"
    os.pwrite(descriptor, b"other", 0)
    with pytest.raises(BimetalError, match="/dev/fdset/7 has changed since"):
        restore([power_off()])
    os.close(descriptor)
    FDSETS.pop(7)
    with pytest.raises(BimetalError, match="/dev/fdset/7, which cannot be read: there is no such"):
        restore([power_off()])


def test_a_closed_qcow2_image_is_what_it_was_when_the_machine_was_saved(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    need("qemu-img")
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "16M"], check=True)
    vm = with_disk(script, image)
    with vm._gate.hold():
        disk_of(vm).write(0, DISK)
    vm.save(tmp_path / "snapshot", stop=True)
    vm.close()
    restore().close()


def test_what_was_written_to_a_temporary_layer_is_kept(
    script: Script, restore: Restore, disk: Path, tmp_path: Path
) -> None:
    vm = with_disk(script, disk, snapshot=True)
    layer = disk_of(vm)
    with vm._gate.hold():
        layer.write(0x3000, b"new" * 100)
        layer.write_zeroes(0, 512)
    vm.save(tmp_path / "snapshot", stop=True)
    vm.close()
    again = disk_of(restore())
    expected = bytearray(DISK)
    expected[0x3000:0x312C] = b"new" * 100
    expected[:512] = bytes(512)
    assert again.read(0, len(DISK)) == expected
    assert disk.read_bytes() == DISK


def disk_of(vm: Machine) -> Any:
    hardware = vm._parts.hardware
    assert hardware is not None
    (slot,) = (part.device for part in hardware.placements if part.at == BLK)
    return slot.device._disk  # type: ignore[attr-defined]


def test_a_machine_that_does_not_run_has_no_state(script: Script, tmp_path: Path) -> None:
    board = script([power_off()])
    with pytest.raises(BimetalError, match="was not started"):
        board.machine.save(tmp_path / "snapshot")
    board.run()
    with pytest.raises(BimetalError, match="the machine has ended"):
        board.machine.save(tmp_path / "snapshot")
    assert not (tmp_path / "snapshot").exists()


def test_a_file_that_is_no_snapshot_is_not_replaced(script: Script, tmp_path: Path) -> None:
    vm = paused(script([busy]))
    precious = tmp_path / "thesis.txt"
    precious.write_bytes(b"chapter one")
    with pytest.raises(BimetalError, match="is there, and is no snapshot"):
        vm.save(precious)
    with pytest.raises(BimetalError, match=r"Is a directory|is no snapshot"):
        vm.save(tmp_path)
    with pytest.raises(BimetalError, match="is not there"):
        vm.save(tmp_path / "missing" / "snapshot")
    assert precious.read_bytes() == b"chapter one"
    assert vm.running


def test_a_full_disk_leaves_the_older_snapshot(
    script: Script, restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = paused(script([busy], memory="16M"))
    vm.save(tmp_path / "snapshot")
    before = (tmp_path / "snapshot").read_bytes()

    def full(fd: int, data: Any, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(BimetalError, match="No space left") as caught:
            vm.save(tmp_path / "snapshot")
    assert caught.value.exit_code == ExitCode.IO_ERROR
    assert (tmp_path / "snapshot").read_bytes() == before
    assert vm.running
    restore().close()


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a snapshot whose manifest somebody has made up."""
    with Reader(str(path)) as reader:
        manifest = from_json(to_json(dict(reader.manifest)))
    change(manifest)
    text, data = to_json(manifest), path.read_bytes()
    header = Header(len(data), len(text), hashlib.sha256(text).digest()).pack()
    path.write_bytes(header + data[len(header) :] + text)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("machine"),
        lambda m: m.pop("state"),
        lambda m: m.pop("files"),
        lambda m: m["machine"].update(board="mainframe"),
        lambda m: m["machine"].update(strange=1),
        lambda m: m["machine"]["config"].update(memory="much"),
        lambda m: m["machine"]["config"].update(memory=1 << 60),
        lambda m: m["machine"]["config"].update(cpus=10**9),
        lambda m: m["machine"]["config"].update(disks=[{"path": 5}]),
        lambda m: m["machine"]["config"].update(strange=1),
        lambda m: m["state"].update(clock=-1),
        lambda m: m["state"]["devices"].pop("uart@10000000"),
        lambda m: m["state"]["devices"]["uart@10000000"].pop("received"),
        lambda m: m["state"]["devices"]["plic@c000000"].update(registers={}),
        lambda m: m["state"]["devices"].update(gadget={}),
        lambda m: m["state"]["runner"].update(cpus=[]),
        lambda m: m["state"]["runner"].update(asked=["explode", 1]),
        lambda m: m["state"]["runner"]["cpus"][0].update(levels=None),
        lambda m: m["state"].update(consoles=[]),
        lambda m: m["areas"].clear(),
        lambda m: m["areas"]["0 ram"].update(pages="AAAA"),
        lambda m: m["areas"]["0 ram"].update(size=1),
        lambda m: m.update(stored=5000),
        lambda m: m.update(blocks=[[0, 1, 2]]),
    ],
)
def test_a_made_up_state_is_an_error_of_the_file(
    change: Change, script: Script, restore: Restore, tmp_path: Path
) -> None:
    vm = paused(script([store(UART, ord("a"), 1), busy], memory="16M"), after="a")
    vm.save(tmp_path / "snapshot", stop=True)
    changed(tmp_path / "snapshot", lambda m: None)
    restore().close()
    changed(tmp_path / "snapshot", change)
    threads = threading.active_count()
    with pytest.raises(BimetalError) as caught:
        restore()
    assert caught.value.remedy
    assert threading.active_count() <= threads


def test_a_nic_is_part_of_the_recipe(script: Script, restore: Restore, tmp_path: Path) -> None:
    board = script([store(UART, ord("a"), 1), busy])
    board.machine.nic("user", mac="52:54:00:aa:bb:cc")
    vm = paused(board, after="a")
    vm.save(tmp_path / "snapshot", stop=True)
    again = restore()
    assert again.config.nics == vm.config.nics


def test_what_reaches_out_of_the_machine_needs_trust(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    """A file must not be able to give its guest a folder of the host, or a port."""
    (tmp_path / "folder").mkdir()
    equipments: list[Callable[[Machine], None]] = [
        lambda vm: vm.share(tmp_path / "folder", tag="all"),
        lambda vm: vm.nic("user,hostfwd=tcp:127.0.0.1:0-:22"),
    ]
    for equip in equipments:
        board = script([store(UART, ord("a"), 1), busy])
        equip(board.machine)
        vm = paused(board, after="a")
        vm.save(tmp_path / "snapshot", stop=True)
        vm.close()
        with pytest.raises(BimetalError, match="reaches more of this host") as caught:
            restore()
        assert caught.value.exit_code == ExitCode.NO_PERMISSION
        restore(trust=True).close()


def test_a_disk_of_which_the_file_says_nothing_needs_trust(
    script: Script, restore: Restore, disk: Path, tmp_path: Path
) -> None:
    """Or else a file could give its guest any other file that we can write."""
    vm = with_disk(script, disk)
    vm.save(tmp_path / "snapshot", stop=True)
    vm.close()
    changed(tmp_path / "snapshot", lambda m: m["files"].clear())
    with pytest.raises(BimetalError, match="reaches more of this host"):
        restore()
    restore(trust=True).close()


@pytest.mark.parametrize("bus", ["scsi", "usb"])
def test_a_cd_that_the_file_knows_needs_no_trust(
    bus: str, script: Script, restore: Restore, disk: Path, tmp_path: Path
) -> None:
    """It is a disk like others; and a drive with nothing in it reaches nothing."""
    board = script([store(UART, ord("a"), 1), busy])
    board.machine.cdrom(disk, bus=bus)
    board.machine.cdrom(bus=bus)
    vm = paused(board, after="a")
    vm.save(tmp_path / "snapshot", stop=True)
    vm.close()
    again = restore()
    assert [drive.loaded for drive in again.cdroms] == [True, False]
    again.close()
    changed(tmp_path / "snapshot", lambda m: m["files"].clear())
    with pytest.raises(BimetalError, match="reaches more of this host"):
        restore()


OF_USB = {"slot": 0, "socket": 2}


@pytest.mark.parametrize("plugged", ["disk", "cdrom"])
def test_nothing_is_plugged_in_of_which_the_file_says_nothing(
    plugged: str, script: Script, restore: Restore, disk: Path, tmp_path: Path
) -> None:
    """Neither into a machine that is made, nor into one that is there."""
    board = script([store(UART, ord("a"), 1), busy])
    board.machine.usb()
    vm = paused(board, after="a")
    vm.save(tmp_path / "snapshot")
    made_up = {**OF_USB, plugged: {"path": str(disk), "bus": "usb"}}
    changed(tmp_path / "snapshot", lambda m: m["machine"]["plugged"].append(made_up))
    with pytest.raises(BimetalError, match="reaches more of this host"):
        restore()
    with pytest.raises(BimetalError, match="reaches more of this host"):
        vm.load(tmp_path / "snapshot")
    assert vm.running


def test_a_checkpoint_has_memory_devices_and_layers(script: Script, disk: Path) -> None:
    vm = with_disk(script, disk, snapshot=True)
    vm.pause()
    vm.memory.write(RAM + 0x5000, b"before")
    with vm._gate.hold():
        disk_of(vm).write(0, b"before")
    vm.checkpoint()
    for _ in range(2):
        vm.memory.write(RAM + 0x5000, b"after!")
        vm["uart@10000000"].write(7, 1, 0x5A)
        with vm._gate.hold():
            disk_of(vm).write(0, b"after!")
            disk_of(vm).write(0x8000, b"after!")
        vm.rewind()
        assert vm.memory.read(RAM + 0x5000, 6) == b"before"
        assert vm["uart@10000000"].SCR == 0
        assert disk_of(vm).read(0, 8) == b"before" + DISK[6:8]
        assert disk_of(vm).read(0x8000, 6) == DISK[0x8000:0x8006]


def test_a_disk_that_is_written_to_cannot_be_rewound(script: Script, disk: Path) -> None:
    vm = with_disk(script, disk)
    with pytest.raises(BimetalError, match="which two machines cannot do"):
        vm.checkpoint()
    assert vm.running


def test_the_cpus_of_kvm_are_not_those_of_others(
    script: Script, restore: Restore, tmp_path: Path
) -> None:
    vm = paused(script([busy]))
    vm.save(tmp_path / "snapshot", stop=True)
    changed(tmp_path / "snapshot", lambda m: m["machine"].update(accel="kvm"))
    with pytest.raises(BimetalError, match="ran on kvm, and script has other CPUs"):
        restore()
