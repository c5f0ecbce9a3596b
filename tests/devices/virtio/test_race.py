"""Driver and device at the same time, in two threads: no request is lost, none comes back twice.

The driver touches the rings without the machine's lock, as a guest on another CPU does; accesses
to registers hold it.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator

import pytest

from bimetal.devices.virtio.rng import VirtioRng
from tests.devices.virtio.guest import EVENT_IDX, INDIRECT_DESC, INTERRUPT_ACK, Guest

REQUESTS = 5000
PATIENCE_SECONDS = 60


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that interrupt each other as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("features", [EVENT_IDX | INDIRECT_DESC, 0], ids=["event index", "flags"])
@pytest.mark.usefixtures("restless")
def test_notifications_and_interrupts_are_never_lost(features: int) -> None:
    guest = Guest(VirtioRng(bytes))
    (ring,) = guest.start(features, size=64)
    lock, kicked, interrupted = threading.Lock(), threading.Event(), threading.Event()
    guest.slot.irq.connect(lambda level: interrupted.set() if level else None)
    over = False

    def device() -> None:
        while not over:
            kicked.wait()
            kicked.clear()
            with lock:
                ring.notify()

    thread = threading.Thread(target=device)
    thread.start()
    place, rng = guest.room(8), random.Random(1)
    submitted = done = 0
    while done < REQUESTS:
        while ring.free and submitted < REQUESTS and rng.random() < 0.9:
            ring.offer(ring.chain(place))
            submitted += 1
            event = ring.avail_event if features else ring.added - 1
            if ring.added - 1 & 0xFFFF == event & 0xFFFF:
                kicked.set()
        ring.want_interrupt_after(ring.taken)
        used = ring.completed()
        done += len(used)
        if not used and done < submitted:
            assert interrupted.wait(PATIENCE_SECONDS), f"{done} of {submitted} came back"
            interrupted.clear()
            with lock:
                guest.write(INTERRUPT_ACK, 1)
    over = True
    kicked.set()
    thread.join()
    assert done == submitted == REQUESTS
