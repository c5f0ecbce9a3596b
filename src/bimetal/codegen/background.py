"""Translation after a machine has ended: code that was hot but had to wait, for the next run.

A separate process does this once the machine's process has gone. At most one runs for each store,
at idle priority and for a limited time, and it may be killed at any moment.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable

from ..base.log import logger
from ..isa.describe import Isa
from .children import Outliving, leave, reap
from .frames import pack
from .job import Job
from .store import CodeStore
from .worker import popen_arguments

__all__ = ["translate_in_background"]

_log = logger("translator")


def translate_in_background(isa: Isa, shared: bool, jobs: Iterable[Job], store: CodeStore) -> None:
    """Start a background process that does ``jobs`` and puts the regions into the user's store.

    Does nothing if another process is already translating for this store, and only logs when the
    process cannot be started: all that is lost is time saved later.
    """
    reap()
    claim = store.claim()
    if claim is None:
        return
    try:
        with tempfile.TemporaryFile() as file:
            for job in jobs:
                file.write(pack(job.frame()))
            if not file.tell():
                return
            file.seek(0)
            # It must not hold our streams open: a reader of our output waits for their end.
            process = Outliving(
                **popen_arguments("bimetal.codegen.leftovers", isa, shared),
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
