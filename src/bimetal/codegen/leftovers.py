"""The process that translates what machines have left when they ended: see `background`.

python -m bimetal.codegen.leftovers MODULE shared|alone DIGEST < JOBS
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ..base.clock import processor_seconds, wall_seconds
from ..base.confining.own import confine_helper
from ..isa.describe import Isa
from ..isa.names import described_in
from .cover import family_of
from .frames import read_frame
from .identity import OTHER_ENGINE, is_engine
from .job import Job
from .layout import Layout
from .store import CodeStore, store_folder
from .translator import translate

__all__ = ["main"]

PATIENCE = 300
"""Seconds of wall time after which it gives up, if a busy host leaves it no processor time."""


def main(module: str, memory: str, engine: str) -> None:
    """Do the jobs on standard input, of a process with the ``engine`` of that digest."""
    _give_way()
    isa = described_in(module).isa
    layout = Layout.of(isa, shared=memory == "shared")
    if not is_engine(isa, layout.shared, engine):
        sys.exit(OTHER_ENGINE)
    confine_helper(os.fspath(store_folder()))
    store, end = CodeStore(), wall_seconds() + PATIENCE
    while wall_seconds() < end and (frame := read_frame(sys.stdin.buffer)) is not None:
        job = Job.of(frame)
        if processor_seconds() > job.policy.background:
            break
        _do(isa, layout, store, bytes.fromhex(engine), job)
    store.close()


def _give_way() -> None:
    """Lower this process's priority so that it gets only idle processor time."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # some sandboxes refuse it, or both
        with suppress(OSError):
            os.nice(19)


def _do(isa: Isa, layout: Layout, store: CodeStore, engine: bytes, job: Job) -> None:
    try:
        answer = translate(isa, layout, job)
    except Exception:
        return  # the next run meets the same error and reports it
    if answer.content:
        stored = answer.stored(job)
        key = stored.cover.line(job.code).key(family_of(engine, job.decoding))
        store.put(key, answer.content, stored.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
