"""How programs that pexpect has started end, however long a busy host takes for it.

pexpect's own ``close`` waits a tenth of a second for a process to be gone, signals it then (though
it may be about to end by itself, with its exit code), and gives up after four tenths.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pexpect

__all__ = ["kill", "wait_for_end"]

PATIENCE = 20
"""Seconds for a program to end in order."""


def wait_for_end(process: pexpect.spawn[Any]) -> None:
    """Wait for a program that ends by itself."""
    process.expect(pexpect.EOF)
    process.wait()
    process.close()


def kill(process: pexpect.spawn[Any]) -> None:
    """End a program if it still runs: as if its terminal were gone, or else by force."""
    if not process.closed and process.isalive():
        process.kill(signal.SIGHUP)
        process.kill(signal.SIGCONT)
        end = time.monotonic() + PATIENCE
        while process.isalive() and time.monotonic() < end:
            time.sleep(0.01)
        if process.isalive():
            process.kill(signal.SIGKILL)
            process.wait()
    process.close()
