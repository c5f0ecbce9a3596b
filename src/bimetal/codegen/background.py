"""Translation after a machine has ended: code that was hot but had to wait, for the next run.

A separate process does this once the machine's process has gone. At most one runs for each store,
at idle priority and for a limited time, and it may be killed at any moment.

    python -m bimetal.codegen.background MODULE shared|alone < JOBS
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

from ..base.clock import processor_seconds, wall_seconds
from ..base.log import logger
from ..isa.describe import Isa
from ..isa.names import described_in
from .children import Outliving, leave, reap
from .cover import family_of
from .frames import pack, read_frame
from .job import Job
from .layout import Layout
from .store import CodeStore
from .translator import translate
from .worker import popen_arguments

__all__ = ["main", "translate_in_background"]

_log = logger("translator")

PATIENCE = 300
"""Seconds of wall time after which it gives up, if a busy host leaves it no processor time."""


def translate_in_background(
    isa: Isa, shared: bool, engine: bytes, jobs: Iterable[Job], store: CodeStore
) -> None:
    """Start a background process that does ``jobs`` and puts the regions into the user's store.

    ``engine`` is the digest of the engine, part of their keys. Does nothing if another process is
    already translating for this store, and only logs when the process cannot be started: all that
    is lost is time saved later.
    """
    reap()
    claim = store.claim()
    if claim is None:
        return
    try:
        with tempfile.TemporaryFile() as file:
            for job in jobs:
                file.write(pack(job.frame(engine=engine.hex())))
            if not file.tell():
                return
            file.seek(0)
            # It must not hold our streams open: a reader of our output waits for their end.
            process = Outliving(
                **popen_arguments("bimetal.codegen.background", isa, shared),
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[claim],
                start_new_session=True,
                cwd="/",
            )
            leave(process)
    except OSError as error:
        _log.info("nothing is compiled for the next run: %s", error)
    finally:
        os.close(claim)


def main(module: str, memory: str) -> None:
    """Do the jobs on standard input: the process that `translate_in_background` starts."""
    _give_way()
    isa = described_in(module).isa
    layout = Layout.of(isa, shared=memory == "shared")
    store, end = CodeStore(), wall_seconds() + PATIENCE
    while wall_seconds() < end and (frame := read_frame(sys.stdin.buffer)) is not None:
        job = Job.of(frame)
        if processor_seconds() > job.policy.background:
            break
        _do(isa, layout, store, bytes.fromhex(frame.fields["engine"]), job)
    store.close()


def _give_way() -> None:
    """Lower this process's priority so that it gets only idle processor time."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # some sandboxes refuse it
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
