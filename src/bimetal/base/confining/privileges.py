"""Rights that a process gives up."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from contextlib import suppress
from enum import IntEnum
from struct import Struct

from bimetal.base.confining.libc import prctl, system_call_named

__all__ = ["Capability", "give_up_capabilities", "give_up_new_privileges"]

PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
VERSION_3 = 0x20080522
_HEADER = Struct("=Ii")
_SETS = Struct("=6I")
"""Effective, permitted and inheritable ones, the lower 32 of each and then the others
(capset(2))."""

LAST = 63


class Capability(IntEnum):
    """Those that a machine may need (capabilities(7))."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    FSETID = 4
    SETGID = 6
    SETUID = 7
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    MKNOD = 27


def give_up_new_privileges() -> None:
    """Have no program that this process or its children start get more rights than they have, by a
    set-user-ID bit or otherwise (prctl(2), PR_SET_NO_NEW_PRIVS). Raises OSError."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def give_up_capabilities(kept: Collection[Capability] = ()) -> None:
    """Have this thread, and what it starts from now on, do nothing that takes the rights of root
    but what is ``kept`` of it, as far as it is there. Raises OSError."""
    for number in range(LAST + 1):
        if number not in kept:
            with suppress(OSError):  # the kernel has fewer, or we may not
                prctl(PR_CAPBSET_DROP, number)
    with suppress(OSError):
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _HEADER.pack(VERSION_3, 0)
    now = ctypes.create_string_buffer(_SETS.size)
    system_call_named("capget", header, now)
    low, low_permitted, _, high, high_permitted, _ = _SETS.unpack(now.raw)
    mask = sum(1 << number for number in kept)
    lower, upper = mask & 0xFFFF_FFFF, mask >> 32
    halves = (low & lower, low_permitted & lower, 0, high & upper, high_permitted & upper, 0)
    left = _SETS.pack(*halves)
    system_call_named("capset", header, left)
