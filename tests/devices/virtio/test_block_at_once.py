"""Small transfers, which the block device carries out at once: they are answered as others are."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from tests.devices.virtio.guest import EVENT_IDX, INDIRECT_DESC, NEEDS_RESET, STATUS
from tests.devices.virtio.test_block import (
    CONTENT,
    FLUSH,
    FLUSH_FEATURE,
    GET_ID,
    IN,
    IOERR,
    OK,
    OUT,
    SECTOR,
    Grouping,
    Machine,
    Recorder,
)

FEATURES = INDIRECT_DESC | EVENT_IDX
Request = tuple[int, int, bytes, int]
"""Kind, sector, what is written, bytes to be read."""


def batch(machine: Machine, requests: Sequence[Request], *, whole: bool) -> list[Any]:
    """Offer requests together; the status of each, with what was read, in order of their answers.
    Their headers are ``whole``, or cut in two, which no device may mind (2.7.4.1)."""
    guest, heads = machine.guest, {}
    for kind, sector, data, length in requests:
        header = struct.pack("<IIQ", kind, 0, sector)
        buffers = [guest.place(part) for part in ([header] if whole else [header[:6], header[6:]])]
        buffers += [guest.place(data)] if data else []
        answer, status = guest.room(length), guest.room(1)
        buffers += [answer] if length else []
        head = machine.ring.indirect(*buffers, status)
        heads[head] = status, answer
        machine.ring.offer(head)
    machine.ring.notify()
    done = []
    for used in machine.ring.completed():
        status, answer = heads[used.head]
        done.append((used.head, used.length, guest.peek(status), guest.peek(answer)))
    return [*done, guest.read(STATUS) & NEEDS_RESET]


def some_requests(chance: random.Random) -> list[Request]:
    sectors = len(CONTENT) // SECTOR
    requests: list[Request] = []
    for _ in range(chance.randrange(1, 12)):
        sector, length = chance.randrange(sectors + 2), SECTOR * chance.randrange(4)
        length += chance.choice((0, 0, 0, 0, 1))
        kind = chance.choice((IN, IN, OUT, OUT, FLUSH, GET_ID, 99))
        if kind == OUT:
            requests.append((kind, sector, chance.randbytes(length), 0))
        else:
            requests.append((kind, sector, b"", {IN: length, GET_ID: 20}.get(kind, 0)))
    return requests


@pytest.mark.parametrize("features", [FEATURES, FEATURES | FLUSH_FEATURE])
@pytest.mark.parametrize("kind", [Recorder, Grouping])
def test_whatever_the_shape_of_a_request_the_answer_is_the_same(
    kind: type[Recorder], features: int
) -> None:
    chance = random.Random(features)
    for _ in range(40):
        machines = Machine(features, kind()), Machine(features, kind())
        requests = some_requests(chance)
        failing = chance.choice((None, None, None, 5))
        answers = []
        for machine, whole in zip(machines, (True, False), strict=True):
            machine.disk.error = failing
            answers.append(batch(machine, requests, whole=whole))
        assert answers[0] == answers[1]
        assert len(answers[0]) == len(requests) + 1
        assert machines[0].disk.content == machines[1].disk.content
        assert machines[0].disk.calls == machines[1].disk.calls


def test_requests_are_carried_out_in_the_order_in_which_they_were_made() -> None:
    machine = Machine(FEATURES | FLUSH_FEATURE)
    new = b"n" * SECTOR
    done = batch(
        machine,
        [(OUT, 3, new, 0), (IN, 3, b"", SECTOR), (FLUSH, 0, b"", 0), (IN, 4, b"", SECTOR)],
        whole=True,
    )
    assert machine.disk.calls == [
        *(f"write {3 * SECTOR} [512]", f"read {3 * SECTOR} [512]", "flush"),
        f"read {4 * SECTOR} [512]",
    ]
    assert [each[2:] for each in done[:-1]] == [
        (bytes([OK]), b""),
        (bytes([OK]), new),
        (bytes([OK]), b""),
        (bytes([OK]), CONTENT[4 * SECTOR : 5 * SECTOR]),
    ]
    assert machine.guest.interrupts == 1


def test_writes_that_belong_together_fail_together() -> None:
    disk = Grouping()
    machine = Machine(FEATURES | FLUSH_FEATURE, disk)

    def settle() -> None:
        raise OSError(5, "no")

    disk.settle = settle  # type: ignore[method-assign]
    done = batch(
        machine, [(OUT, 1, b"x" * SECTOR, 0), (IN, 9, b"", SECTOR), (OUT, 2, b"y" * SECTOR, 0)],
        whole=True,
    )  # fmt: skip
    assert [each[2][0] for each in done[:-1]] == [IOERR, OK, IOERR]
