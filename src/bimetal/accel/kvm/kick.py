"""The signal that brings a thread back from KVM_RUN.

KVM_RUN returns with EINTR when a signal arrives for its thread, and at once while
``kvm_run.immediate_exit`` is set; flag and signal together leave no gap. The signal only has to
exist, so its handler is libc's ``abs()``: a function that takes an int and touches nothing. It
can be installed from any thread and, unlike a handler of Python's own, wakes no other thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
from functools import cache

from bimetal.base.errors import BimetalError

__all__ = ["interrupt_thread", "kick_signal"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
_libc.signal.restype = ctypes.c_void_p


@cache
def kick_signal() -> int:
    """The real-time signal used for kicks: the first that nobody in this process handles.

    Its handler is installed by the first call and stays for the life of the process.
    """
    for number in range(signal.SIGRTMIN + 2, signal.SIGRTMAX + 1):
        if signal.getsignal(number) is signal.SIG_DFL:
            _libc.signal(number, ctypes.cast(_libc.abs, ctypes.c_void_p))
            signal.siginterrupt(number, True)
            return number
    raise BimetalError(
        "every real-time signal of this process is in use, KVM needs one to stop a CPU",
        "free one by signal.signal(number, signal.SIG_DFL)",
    )


def interrupt_thread(native_id: int) -> None:
    """Interrupt the system call that thread ``native_id`` of this process is in, if any.

    A thread that is gone is no error: tgkill(2) takes no pointer that could dangle.
    """
    _libc.tgkill(os.getpid(), native_id, kick_signal())
