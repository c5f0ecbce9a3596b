"""A lease: who holds it is alive. It ends with the process, however that ends.

It is a POSIX record lock (fcntl(2), F_SETLK) on a file. Such a lock belongs to a process: copies of
it do not have it, and the kernel tells which process holds it. It is lost when the process closes
any descriptor of the file, so a holder opens the file once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
from collections.abc import Callable
from contextlib import suppress

from bimetal.base.clock import Countdown

__all__ = ["Lease", "await_release", "count_up", "end_process", "holder", "marked"]

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid."""

MODE = 0o600
ATTEMPTS = 1000
"""So often somebody else may have become the holder while one looks."""
AT_ONCE = 86_400.0
"""Seconds, of which the host takes no more than fit into 31 bits of milliseconds."""
LOOK_AGAIN = 20
"""Milliseconds between two looks."""
MEMORY, REMOVED = "/memfd:", " (deleted)"
"""What Linux says before and behind the name of a file in memory (memfd_create(2))."""


class Lease:
    """What `take` returns; ``path`` is that of the file."""

    def __init__(self, path: str, fd: int):
        self.path, self._fd = path, fd
        self._mark = -1

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

    def mark(self, name: str) -> None:
        """Have `marked` find this process by that name, of 249 bytes at most, whatever becomes of
        the file at the path. Raises OSError."""
        self._mark = os.memfd_create(name, os.MFD_CLOEXEC)
        fcntl.lockf(self._mark, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._mark >= 0:
            os.close(self._mark)
            self._mark = -1
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
    return 0 if kind == fcntl.F_UNLCK else max(0, int(pid))  # locks of files have -1


def marked(start: str) -> dict[str, int]:
    """The processes that have leases with marks (`Lease.mark`) that begin so, by what follows. Of
    this user's processes only."""
    link, found = f"{MEMORY}{start}", dict[str, int]()
    for pid in _lockers():
        for fd in _descriptors(pid):
            with suppress(OSError):  # it opens and closes files all the time
                where = os.readlink(f"/proc/{pid}/fd/{fd}")
                if where.startswith(link) and _is_own(pid, fd) and _is_locked(pid, fd):
                    found[where[len(link) :].removesuffix(REMOVED)] = pid
    return found


def _descriptors(pid: int) -> list[str]:
    """What a process has open; nothing of one that has ended, or is another user's."""
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/fd")
    return []


def _lockers() -> set[int]:
    """The processes that hold POSIX locks (proc_locks(5))."""
    with suppress(OSError), open("/proc/locks", encoding="ascii") as file:
        rows = [line.split() for line in file]
        return {int(row[4]) for row in rows if row[1] == "POSIX" and row[4].isdecimal()}
    return set()


def _is_own(pid: int, fd: str) -> bool:
    """Whether this user has made the file in memory that a process has open: root sees those of
    others, too, who may call them as they like."""
    return os.stat(f"/proc/{pid}/fd/{fd}").st_uid == os.geteuid()


def _is_locked(pid: int, fd: str) -> bool:
    """Whether a process holds a POSIX lock on the file of its descriptor (proc_pid_fdinfo(5))."""
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return any(row[0] == "lock:" and "POSIX" in row for row in rows if row)


def await_release(find: Callable[[], int], seconds: float) -> bool:
    """Wait for the end of the process that ``find`` returns, which holds a lease, until that is 0;
    False if it has not come in so many seconds."""
    countdown = Countdown(seconds)
    while True:
        try:
            process = _process(find)
        except OSError:  # the host tells nobody of an end
            if not countdown.left:
                return False
            select.poll().poll(LOOK_AGAIN)
            continue
        if process < 0:
            return True
        try:
            if not _ended(process, countdown.left):
                return False
        finally:
            os.close(process)


def end_process(find: Callable[[], int], number: signal.Signals, seconds: float) -> bool:
    """Send a signal to the process that ``find`` returns, unless that is 0, and wait for its end;
    False if it has not come in so many seconds. Nobody else is met who has got that number
    meanwhile. Raises OSError if the host does not let one."""
    process = _process(find)
    if process < 0:
        return True
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        return _ended(process, seconds)
    finally:
        os.close(process)


def _process(find: Callable[[], int]) -> int:
    """A descriptor (pidfd_open(2)) of the process that ``find`` returns, -1 if that is 0. It is
    asked again with that open: if the process has ended before, its number may be another's.
    Raises OSError."""
    for _ in range(ATTEMPTS):
        pid = find()
        if not pid:
            return -1
        with suppress(ProcessLookupError):  # it has just ended
            process = os.pidfd_open(pid)
            if find() == pid:
                return process
            os.close(process)
    raise ProcessLookupError(errno.ESRCH, "it is in a place where it cannot be seen")


def _ended(process: int, seconds: float) -> bool:
    poll, countdown = select.poll(), Countdown(seconds)
    poll.register(process, select.POLLIN)
    while not (ended := poll.poll(1000 * min(countdown.left, AT_ONCE))):
        if not countdown.left:
            break
    return bool(ended)


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
