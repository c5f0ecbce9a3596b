"""System calls that Python does not have."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

__all__ = ["prctl", "system_call", "system_call_named"]


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: Any) -> int:
    """The result of a system call. Raises OSError."""
    call = _libc().syscall
    call.restype = ctypes.c_long
    return _checked(call(ctypes.c_long(number), *arguments))


def system_call_named(name: str, *arguments: Any) -> int:
    """The result of a system call that the C library has under a name. Raises OSError."""
    return _checked(getattr(_libc(), name)(*arguments))


def prctl(option: int, *arguments: int) -> int:
    """The result of prctl(2). Raises OSError."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_libc().prctl(option, *map(ctypes.c_ulong, padded)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
