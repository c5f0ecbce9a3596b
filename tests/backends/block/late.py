"""Transfers as the device of a disk makes them: at once if that needs no waiting, or else later."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bimetal.backends.block.block import Block
from bimetal.base.transfers import Transfer

__all__ = ["transfer", "transfer_all"]


def transfer_all(disk: Block, transfers: Sequence[Transfer], rng: random.Random) -> None:
    """Make ``transfers``; the work of those that have to wait is done in any order. What fails is
    noted in them."""
    waiting = []
    for each in transfers:
        now = disk.write_now if each.writes else disk.read_now
        try:
            if not now(each.offset, each.buffers):
                waiting.append(each)
        except OSError as error:
            each.error = error
    jobs = list(disk.late(waiting)) if waiting else []
    rng.shuffle(jobs)
    for job in jobs:
        job()


def transfer(
    disk: Block, offset: int, buffers: Sequence[memoryview], rng: random.Random, *, writes: bool
) -> None:
    """Make one transfer. Raises OSError."""
    single = Transfer(offset, buffers, writes=writes)
    transfer_all(disk, [single], rng)
    if single.error is not None:
        raise single.error
