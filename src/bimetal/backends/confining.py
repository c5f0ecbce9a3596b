"""What a process gives up that runs a machine for long."""

from __future__ import annotations

import ctypes
import os

__all__ = ["give_up_new_privileges"]

PR_SET_NO_NEW_PRIVS = 38


def give_up_new_privileges() -> None:
    """Have no program that this process or its children start get more rights than they have, by a
    set-user-ID bit or otherwise (prctl(2), PR_SET_NO_NEW_PRIVS). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
