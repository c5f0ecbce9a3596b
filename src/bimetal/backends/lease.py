"""A lease: who holds it is alive. It ends with the process, however that ends.

It is a POSIX record lock (fcntl(2), F_SETLK) on a file. Such a lock belongs to a process: copies of
it do not have it, and the kernel tells which process holds it. It is lost when the process closes
any descriptor of the file, so a holder opens the file once.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from contextlib import suppress

from bimetal.base.clock import Countdown

__all__ = ["Lease", "await_process", "await_release", "count_up", "holder", "holders_of_removed"]

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid."""

MODE = 0o600
REMOVED = " (deleted)"
"""What Linux says behind the path of a file that is gone (proc(5))."""


class Lease:
    """What `take` returns; ``path`` is that of the file."""

    def __init__(self, path: str, fd: int):
        self.path, self._fd = path, fd

    @classmethod
    def take(cls, path: str) -> Lease | None:
        """Take the lease at ``path``, in a file that is made if it is not there; None if another
        process holds it. Raises OSError."""
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(fd, path):
                    return cls(path, fd)
            except BlockingIOError:
                os.close(fd)
                return None
            except PermissionError:  # what some systems say of a lock that is held
                os.close(fd)
                return None
            os.close(fd)  # somebody has removed the file meanwhile: take the new one

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def holder(path: str) -> int:
    """The process that holds the lease at ``path``, 0 if none does. Not for the holder itself."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, wish))
    finally:
        os.close(fd)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def holders_of_removed(folder: str) -> dict[str, int]:
    """The processes that hold leases whose files, below ``folder``, somebody has removed: by the
    paths that these had. Of this user's processes only."""
    start, found = f"{os.path.realpath(folder)}/", dict[str, int]()
    for pid in _lockers():
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                below = link.startswith(start) and link.endswith(REMOVED)
                if below and _is_locked(pid, fd):
                    found[folder + link[len(start) - 1 : -len(REMOVED)]] = pid
    return found


def _lockers() -> set[int]:
    """The processes that hold POSIX locks (proc_locks(5))."""
    with suppress(OSError), open("/proc/locks", encoding="ascii") as file:
        rows = [line.split() for line in file]
        return {int(row[4]) for row in rows if row[1] == "POSIX" and row[4].isdecimal()}
    return set()


def _is_locked(pid: int, fd: str) -> bool:
    """Whether a process holds a POSIX lock on the file of its descriptor (proc_pid_fdinfo(5))."""
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return any(row[0] == "lock:" and "POSIX" in row for row in rows if row)


def await_release(path: str, seconds: float) -> bool:
    """Wait for the end of the process that holds the lease at ``path``; False if it has not come
    in so many seconds."""
    countdown = Countdown(seconds)
    while pid := holder(path):
        try:
            if not await_process(pid, countdown.left):
                return False
        except OSError:  # it has just ended, or is in a place where it cannot be seen
            if not countdown.left:
                return False
    return True


def await_process(pid: int, seconds: float) -> bool:
    """Wait for the end of a process; False if it has not come in so many seconds. Raises OSError if
    there is none."""
    process = os.pidfd_open(pid)
    try:
        return bool(select.select([process], [], [], seconds)[0])
    finally:
        os.close(process)


def _same(fd: int, path: str) -> bool:
    """Whether ``fd`` is what lies at ``path`` now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def count_up(path: str) -> int:
    """The next number, from 1 on, of those who ask at ``path``, whoever they are. A damaged file
    counts from 1 again. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        text = os.pread(fd, 20, 0).strip()
        number = int(text) + 1 if text.isdigit() else 1
        os.pwrite(fd, f"{number:<20}\n".encode(), 0)
        return number
    finally:
        os.close(fd)
