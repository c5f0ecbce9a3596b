"""What forks share and what they do not: disks, back ends, and machines that cannot be forked."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator, ScriptCpu
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.config.vmgenid import VmGenId
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.machine import forking
from bimetal.machine.fork import Fork
from bimetal.machine.machine import Machine
from bimetal.seam import Exit, Mmio
from tests.machine.conftest import LIMIT, Script
from tests.machine.test_loop import UART, store
from tests.machine.test_snapshots import DISK, disk_of


def busy(cpu: ScriptCpu) -> Exit:
    """A guest that never stops to read the serial port."""
    cpu.repeat()
    return Mmio(UART + 7, 1)


def started(script: Script, disk: Path, **options: Any) -> Machine:
    disk.write_bytes(DISK)
    board = script([store(UART, ord("a"), 1), busy])
    board.machine.disk(disk, **options)
    board.machine.start()
    board.machine.console.expect("a", LIMIT)
    return board.machine


def test_each_fork_writes_to_a_layer_of_its_own(script: Script, tmp_path: Path) -> None:
    vm = started(script, tmp_path / "disk", snapshot=True)
    with vm._gate.hold():
        disk_of(vm).write(0, b"before")

    def work(mine: Machine, number: int) -> None:
        disk = disk_of(mine)
        with mine._gate.hold():
            assert disk.read(0, 8) == b"before" + DISK[6:8]
            disk.write(0x8000, bytes([number]) * 512)
        mine.save(tmp_path / f"fork-{number}", stop=True)

    with vm.fork(2, work) as forks:
        with vm._gate.hold():
            disk_of(vm).write(0, b"parent")
        for fork in forks:
            assert os.waitpid(fork.pid, 0)[1] == 0
    for number in range(2):
        again = Machine.restore(tmp_path / f"fork-{number}", accel=ScriptAccelerator())
        disk = disk_of(again)
        assert disk.read(0, 8) == b"before" + DISK[6:8]
        assert disk.read(0x8000, 1024) == bytes([number]) * 512 + DISK[0x8200:0x8400]
        again.close()
    assert disk_of(vm).read(0, 6) == b"parent"
    assert disk_of(vm).read(0x8000, 512) == DISK[0x8000:0x8200]
    assert (tmp_path / "disk").read_bytes() == DISK


def test_what_cannot_be_in_two_processes_is_said(script: Script, tmp_path: Path) -> None:
    vm = started(script, tmp_path / "disk")
    with pytest.raises(BimetalError, match="which two machines cannot do"):
        vm.fork()
    assert vm.running
    board = script([busy])
    with pytest.raises(BimetalError, match="was not started"):
        board.machine.fork()
    board.machine.vsock(tmp_path / "socket")
    board.machine.start()
    with pytest.raises(BimetalError, match="its Unix sockets have one owner"):
        board.machine.fork()
    assert board.machine.running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_right_after_the_fork_is_the_copys_own(
    script: Script,
    tmp_path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C is left to the original, and others end the copy: neither runs what is on its way in
    the original, or prints anything."""
    vm = started(script, tmp_path / "disk", snapshot=True)
    fork = os.fork

    def interrupted() -> int:
        pid = fork()
        if not pid:
            os.kill(os.getpid(), number)
        return pid

    monkeypatch.setattr(os, "fork", interrupted)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    if number == signal.SIGINT:
        with vm.fork() as forks:
            assert forks[0].running
    else:
        with pytest.raises(BimetalError, match="is gone"):
            vm.fork()
    assert vm.running
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert capfd.readouterr().err == ""


def test_the_original_is_interrupted_when_the_copy_is_known(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm, made = started(script, tmp_path / "disk", snapshot=True), list[int]()
    fork, before = os.fork, signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted() -> int:
        if pid := fork():
            made.append(pid)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return pid

    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vm.fork()
    signal.signal(signal.SIGINT, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(made[0], 0)
    assert vm.running


def test_a_fork_that_cannot_begin_is_an_error_and_no_fork(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = started(script, tmp_path / "disk", snapshot=True)
    here, made = os.getpid(), list[int]()
    fork = os.fork

    def counted() -> int:
        made.append(pid := fork())
        return pid

    def forked(self: VmGenId) -> None:
        if len(made) == 2:
            raise BimetalError("the second one cannot", "make one", ExitCode.UNAVAILABLE)

    monkeypatch.setattr(os, "fork", counted)
    monkeypatch.setattr(VmGenId, "forked", forked)
    with pytest.raises(BimetalError, match="the second one cannot") as raised:
        vm.fork(3)
    assert (raised.value.remedy, raised.value.exit_code) == ("make one", ExitCode.UNAVAILABLE)
    assert (os.getpid(), len(made)) == (here, 3)
    for pid in made:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert vm.running
    with monkeypatch.context() as patch:
        patch.setattr(VmGenId, "forked", lambda self: os._exit(1))
        with pytest.raises(BimetalError, match="the process of the forked machine is gone"):
            vm.fork()
    made.clear()
    with vm.fork() as forks:
        assert forks[0].running


def test_a_fork_that_cannot_be_made_leaves_no_pipes(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = started(script, tmp_path / "disk", snapshot=True)
    made, pipe2 = list[int](), os.pipe2

    def one(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.extend(ends := pipe2(flags))
        return ends

    monkeypatch.setattr(os, "pipe2", one)
    with pytest.raises(BimetalError, match="no more processes: Too many open files"):
        vm.fork()
    for end in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)
    assert vm.running


def test_a_fork_made_meanwhile_holds_no_pipe_of_another(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else nobody would hear that the process of the other one is gone."""
    vm, second = (started(script, tmp_path / name, snapshot=True) for name in "ab")
    fork, here, others = os.fork, os.getpid(), list[Fork]()
    meanwhile = threading.Thread(target=lambda: others.extend(second.fork()))

    class Turn:
        def __enter__(self) -> None:
            if not turn.acquire(blocking=False):
                goes_on.set()
                turn.acquire()

        def __exit__(self, *_: object) -> None:
            turn.release()

    turn, goes_on = threading.Lock(), threading.Event()

    def with_another() -> int:
        if threading.current_thread() is not meanwhile:
            meanwhile.start()
            assert goes_on.wait(LIMIT)
        elif not turn.locked():
            goes_on.set()
        return fork()

    def gone(self: VmGenId) -> None:
        if threading.current_thread() is not meanwhile:
            os._exit(1)

    monkeypatch.setattr(forking, "_TURN", Turn())
    monkeypatch.setattr(os, "fork", with_another)
    monkeypatch.setattr(VmGenId, "forked", gone)
    with pytest.raises(BimetalError, match="the process of the forked machine is gone"):
        vm.fork()
    meanwhile.join(LIMIT)
    assert os.getpid() == here
    assert [other.running for other in others] == [True]
    others[0].close()


def test_only_what_has_something_to_renew_is_asked_in_a_copy(script: Script) -> None:
    """Each page that a copy touches has to be copied for it."""

    class Renewing(VirtioDevice):
        def forked(self) -> None:
            """See `Part.forked`."""

    board = script([busy])
    devices = [placement.device for placement in board.machine._built().hardware.placements]
    slots = [device for device in devices if isinstance(device, VirtioMmio)]
    assert slots
    assert not any(slot.renews for slot in slots)
    slots[0].device = Renewing()
    assert [slot.renews for slot in slots] == [True] + [False] * (len(slots) - 1)
    assert any(isinstance(device, VmGenId) and device.renews for device in devices)
