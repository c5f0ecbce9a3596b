"""Waking a thread that waits for descriptors."""

from __future__ import annotations

import os
import select
import signal
import threading

from bimetal.base.wakeup import Wakeup


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_it_is_readable_from_a_ring_until_that_is_heard() -> None:
    wakeup = Wakeup()
    assert not readable(wakeup.fd)
    wakeup.ring()
    wakeup.ring()
    assert readable(wakeup.fd)
    wakeup.hear()
    assert not readable(wakeup.fd)
    wakeup.hear()
    wakeup.close()


def test_whoever_rings_too_late_writes_to_nobody_else() -> None:
    wakeup = Wakeup()
    reading, writing = os.pipe()
    stop = threading.Event()

    def ring() -> None:
        while not stop.is_set():
            wakeup.ring()

    threads = [threading.Thread(target=ring) for _ in range(3)]
    for thread in threads:
        thread.start()
    wakeup.close()
    os.dup2(writing, wakeup.fd)  # the number is somebody else's now
    stop.set()
    for thread in threads:
        thread.join()
    assert not readable(reading)
    for fd in (reading, writing, wakeup.fd):
        os.close(fd)


def test_a_signal_handler_may_ring() -> None:
    wakeup = Wakeup()
    before = signal.signal(signal.SIGUSR1, lambda *_: wakeup.ring())
    try:
        for _ in range(200):
            threading.Timer(0, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            for _ in range(100):
                wakeup.ring()
    finally:
        while threading.active_count() > 1 and any(
            isinstance(thread, threading.Timer) for thread in threading.enumerate()
        ):
            pass
        signal.signal(signal.SIGUSR1, before)
    assert readable(wakeup.fd)
    wakeup.close()
