"""Landlock: a process keeps to the files that it names (landlock(7), the kernel's
userspace-api/landlock.rst).

The kernel's interface is used by itself: it has three calls, and no library for it is kept.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Mapping
from enum import IntFlag
from struct import Struct

from bimetal.base.confining.libc import system_call

__all__ = ["Access", "restrict", "version"]

CREATE, ADD, RESTRICT = 444, 445, 446
"""The numbers of the calls, which are the same on all processors."""

VERSION_FLAG = 1
PATH_BENEATH = 1
_PATH = Struct("=Qi")
"""struct landlock_path_beneath_attr: what is allowed, and a descriptor of the file."""

SCOPES = 0b11
"""Abstract Unix sockets, and signals: only those of processes that are confined alike."""


class Access(IntFlag):
    """What may be done with files: LANDLOCK_ACCESS_FS_*, and in what order the versions of the
    interface have brought them."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    READ = READ_FILE | READ_DIR
    WRITE = READ | WRITE_FILE | TRUNCATE
    DEVICE = READ | WRITE_FILE | IOCTL_DEV
    FILL = WRITE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_SYM | REFER
    OWN = FILL | MAKE_FIFO


OF_FILES = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)
"""What may be done with a file that is no folder."""

EVERYTHING = Access((1 << 16) - 1)

BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many of them a version of the interface knows; later ones know all."""


def version() -> int:
    """The version of the interface that this kernel has; 0 without Landlock."""
    try:
        return system_call(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(VERSION_FLAG))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
            return 0
        raise


def restrict(
    allowed: Mapping[str, Access], *, of: Access = EVERYTHING, scoped: bool = True
) -> bool:
    """Have this thread, and what it starts from now on, use no other files than those below the
    paths ``allowed``, each for what is said; ``of`` what may be done with files, of which the rest
    is as before; and, if ``scoped``, send signals to nobody outside. What is open stays open; paths
    that are not there are left out. False if the kernel cannot. Raises OSError. Requires
    `give_up_new_privileges`."""
    level = version()
    if not level:
        return False
    handled = (1 << BITS.get(level, 16)) - 1 & of
    attributes = Struct("=QQQ").pack(handled, 0, SCOPES if scoped and level >= 6 else 0)
    size = 8 if level < 4 else 16 if level < 6 else 24
    rules = system_call(CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        for path, access in _merged(allowed.items()).items():
            _allow(rules, path, access & handled)
        system_call(RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)
    return True


def _merged(rules: Iterable[tuple[str, Access]]) -> dict[str, int]:
    """Each place once, with all that is allowed there."""
    found: dict[str, int] = {}
    for path, access in rules:
        place = os.path.realpath(path)
        found[place] = found.get(place, 0) | access
    return found


def _allow(rules: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= OF_FILES
        if access:
            rule = _PATH.pack(access, place)
            kind, no_flags = ctypes.c_int(PATH_BENEATH), ctypes.c_uint(0)
            system_call(ADD, ctypes.c_int(rules), kind, rule, no_flags)
    finally:
        os.close(place)
