"""The machine's lock goes round among those who want it."""

import threading

import pytest

from bimetal.machine.lock import FairLock

LIMIT = 20


def test_whoever_waits_is_next_however_quick_the_last_holder_comes_back() -> None:
    lock = FairLock()
    turns: list[str] = []

    def wait_for_it() -> None:
        for _ in range(100):
            with lock:
                turns.append("other")

    other = threading.Thread(target=wait_for_it, daemon=True)
    lock.acquire()
    other.start()
    for round in range(100):
        while turns.count("other") == round and not lock.door.locked():
            pass  # until it stands at the door, or had its turn without it
        lock.release()
        with lock:
            assert turns.count("other") > round
        lock.acquire()
    lock.release()
    other.join(LIMIT)
    assert turns == ["other"] * 100


def test_trying_takes_it_only_if_it_is_free() -> None:
    lock = FairLock()
    assert lock.acquire(blocking=False)
    assert lock.locked()
    assert not lock.acquire(blocking=False)
    lock.release()
    assert not lock.locked()


def test_waiting_for_it_may_have_an_end() -> None:
    lock = FairLock()
    assert lock.acquire(timeout=LIMIT)
    assert not lock.acquire(timeout=0.01)
    waiting = threading.Thread(target=lock.acquire, daemon=True)
    waiting.start()
    while not lock.door.locked():
        pass
    assert not lock.acquire(timeout=0.01), "somebody else is first"
    lock.release()
    waiting.join(LIMIT)
    assert lock.locked()


def test_conditions_wait_with_it() -> None:
    lock = FairLock()
    changed = threading.Condition(lock)  # type: ignore[arg-type]
    ready = threading.Event()

    def wait() -> None:
        with lock:
            ready.set()
            changed.wait()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert ready.wait(LIMIT)
    with lock:
        changed.notify_all()
    thread.join(LIMIT)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="un-acquired"):
        changed.notify_all()
