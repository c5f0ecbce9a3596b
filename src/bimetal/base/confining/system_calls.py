"""A filter for system calls (seccomp(2)), made by libseccomp: it knows the numbers of each kind of
processor. The library is part of every Debian with systemd; without it there is no filter."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

__all__ = ["HARMFUL", "STARTING_PROGRAMS", "forbid", "library_version"]

LIBRARY = "libseccomp.so.2"
ALLOW, ERRNO = 0x7FFF_0000, 0x0005_0000
OPTIMIZE, ALL_THREADS = 8, 4
"""SCMP_FLTATR_CTL_OPTIMIZE: 2 is a search by halves in place of a row; SCMP_FLTATR_CTL_TSYNC."""

UNKNOWN = -1
"""__NR_SCMP_ERROR."""

HARMFUL = (
    "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime",
    "create_module", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
    "fsopen", "fspick", "get_kernel_syms", "init_module", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
    "lookup_dcookie", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at",
    "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root",
    "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace", "query_module",
    "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname", "setns",
    "settimeofday", "stime", "swapoff", "swapon", "sysfs", "syslog", "umount", "umount2", "unshare",
    "uselib", "userfaultfd", "ustat", "vhangup", "vm86", "vm86old",
)  # fmt: skip
"""What changes the host, looks into other processes, or has been a way out of confinement often;
no machine of ours needs it."""

STARTING_PROGRAMS = ("execve", "execveat")


@cache
def _library() -> Any:
    """libseccomp; None if it is not there."""
    with suppress(OSError):
        library = ctypes.CDLL(LIBRARY, use_errno=True)
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = [ctypes.c_uint32]
        library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
        for name in ("rule_add", "attr_set", "load", "release"):
            getattr(library, f"seccomp_{name}").restype = ctypes.c_int
        return library
    return None


def library_version() -> str:
    """The version of libseccomp, "" without it."""
    library = _library()
    return "" if library is None else ".".join(map(str, library.seccomp_version().contents))


def forbid(names: Iterable[str]) -> bool:
    """Have the system calls ``names``, as far as this kind of processor has them, fail with EPERM
    in this process and in what it starts from now on; its other threads get no new privileges
    either. False without the library. Raises OSError. Requires `give_up_new_privileges`."""
    library = _library()
    if library is None:
        return False
    rules = ctypes.c_void_p(library.seccomp_init(ALLOW))
    if rules.value is None:
        raise OSError(errno.ENOMEM, "a filter for system calls cannot be made")
    try:
        library.seccomp_attr_set(rules, ctypes.c_int(OPTIMIZE), ctypes.c_uint32(2))
        _check(library.seccomp_attr_set(rules, ctypes.c_int(ALL_THREADS), ctypes.c_uint32(1)))
        for name in names:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == UNKNOWN:
                continue
            action = ctypes.c_uint32(ERRNO | errno.EPERM)
            _check(library.seccomp_rule_add(rules, action, ctypes.c_int(number), ctypes.c_uint(0)))
        _check(library.seccomp_load(rules))
    finally:
        library.seccomp_release(rules)
    return True


def _check(result: int) -> None:
    if result < 0 and result != -errno.EDOM:  # EDOM: it has no such call
        raise OSError(-result, "a filter for system calls cannot be had")
