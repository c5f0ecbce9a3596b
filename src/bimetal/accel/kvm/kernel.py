"""The one door to the kernel: open, ioctl, mmap and close.

Everything that KVM code asks of the host passes through a `Kernel`, so tests can put another
behind it that fails where no real kernel fails on demand.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from typing import Protocol

__all__ = ["Handle", "HostKernel", "Kernel", "Mapping", "address_of"]

INT_MAX = 0x7FFF_FFFF

INTERRUPTED_TRIES = 1000
"""How often a request that a signal interrupts is repeated: no loop of ours is endless."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong]
_libc.ioctl.restype = ctypes.c_int

Mapping = mmap.mmap | bytearray
"""Memory shared with the kernel; a bytearray stands in for it in tests."""


def address_of(buffer: bytearray) -> int:
    """Where the bytes of ``buffer`` are in this process, as long as it lives and keeps its size."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class Kernel(Protocol):
    """What KVM needs of an operating system. All methods raise OSError."""

    def open(self, path: str) -> int:
        """A descriptor for reading and writing, closed on exec."""

    def ioctl(self, fd: int, request: int, argument: int | bytearray = 0) -> int:
        """Perform ``request``; a bytearray is passed by reference and may come back changed.

        Releases the GIL. InterruptedError and BlockingIOError are not retried.
        """

    def map(self, fd: int, size: int) -> Mapping:
        """Map the first ``size`` bytes of ``fd``, shared."""

    def close(self, fd: int) -> None:
        """Close ``fd``."""


class HostKernel:
    """The real one."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, fd: int, request: int, argument: int | bytearray = 0) -> int:
        if isinstance(argument, int) and argument > INT_MAX:
            return self._ioctl_long(fd, request, argument)
        return fcntl.ioctl(fd, request, argument)

    def map(self, fd: int, size: int) -> Mapping:
        return mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def close(self, fd: int) -> None:
        os.close(fd)

    @staticmethod
    def _ioctl_long(fd: int, request: int, argument: int) -> int:
        """fcntl.ioctl takes an integer argument as a C int; addresses need a C long."""
        result = int(_libc.ioctl(fd, request, argument))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


class Handle:
    """A descriptor of KVM's (the device, a machine or a vCPU) and its requests."""

    def __init__(self, kernel: Kernel, fd: int):
        self.kernel, self.fd = kernel, fd

    def ioctl(self, request: int, argument: int | bytearray = 0) -> int:
        """Perform ``request``, again if a signal interrupts it. Raises OSError."""
        for _ in range(INTERRUPTED_TRIES):
            try:
                return self.kernel.ioctl(self.fd, request, argument)
            except InterruptedError:
                continue
        raise InterruptedError(errno.EINTR, f"interrupted {INTERRUPTED_TRIES} times")

    def read(self, request: int, size: int, number: int = 0) -> bytearray:
        """The ``size`` bytes that ``request`` fills in, their first word preset to ``number``."""
        buffer = bytearray(size)
        buffer[0:4] = number.to_bytes(4, "little")
        self.ioctl(request, buffer)
        return buffer

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if self.fd >= 0:
            self.kernel.close(self.fd)
            self.fd = -1
