"""Processes with machines: killed in the middle, and their signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from bimetal.accel.kvm.kick import interrupt_thread, kick_signal
from tests.accel.kvm.guest import GuestMachine, guest_machine, ports

SPINNING = """
import threading
from tests.accel.kvm.guest import guest_machine

with guest_machine(cpus=2) as guest:
    cpus = [guest.long("1: jmp 1b", index) for index in range(2)]
    threads = [threading.Thread(target=cpu.run) for cpu in cpus]
    for thread in threads:
        thread.start()
    print("running", flush=True)
    threads[0].join()
"""
ROOT = Path(__file__).resolve().parents[3]


def test_a_process_that_is_killed_leaves_nothing_behind(kvm: None, tmp_path: Path) -> None:
    before = set(os.listdir("/dev/shm"))
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", SPINNING],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()
    assert not list(tmp_path.iterdir())
    assert set(os.listdir("/dev/shm")) <= before
    with guest_machine() as guest:
        assert ports(guest.real("mov al, 1; out 0x10, al").run()) == (0x10, 1, 1)


def test_an_interrupt_from_the_keyboard_ends_a_run(guest: GuestMachine) -> None:
    """Ctrl-C in a program that runs a CPU in its main thread is the program's, not ours."""
    cpu = guest.long("1: jmp 1b")
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        cpu.run()
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the run went on")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_handler_that_returns_does_not_end_a_run(guest: GuestMachine) -> None:
    """The guest waits for a byte that the handler writes."""
    cpu = guest.long("1: cmp byte ptr [0x100000], 0; je 1b; out 0x10, al")
    signal.signal(signal.SIGALRM, lambda *_: guest.write(0x10_0000, b"\1"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        assert ports(cpu.run())[0] == 0x10
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_the_kick_signal_is_nobody_elses() -> None:
    number = kick_signal()
    assert signal.SIGRTMIN < number <= signal.SIGRTMAX
    assert number == kick_signal()
    os.kill(os.getpid(), number)


def test_kicking_a_thread_that_is_gone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    interrupt_thread(gone.pid)
