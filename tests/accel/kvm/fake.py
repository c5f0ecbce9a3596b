"""A kernel that exists only here and fails when it is told to: the other side of `Kernel`."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.abi import Capability, ExitReason, Run

__all__ = ["FakeKernel", "error"]

RUN_SIZE = 3 * 4096
CAPABILITIES = {
    Capability.USER_MEMORY: 1,
    Capability.IMMEDIATE_EXIT: 1,
    Capability.MAX_VCPUS: 4,
    Capability.NR_MEMSLOTS: 8,
    Capability.READONLY_MEM: 1,
    Capability.COALESCED_MMIO: 2,
    Capability.IRQCHIP: 1,
    Capability.IRQ_ROUTING: 64,
}

Reaction = Callable[[], int]


def error(number: int) -> Callable[[], int]:
    """A reaction: fail with this errno."""

    def fail() -> int:
        raise OSError(number, os.strerror(number))

    return fail


class FakeKernel:
    """KVM with four CPUs a machine and eight memory slots, as far as descriptors and errors go.

    ``capabilities`` may be changed, ``reactions`` holds what a request does next time (an iterator
    of reactions; when it ends, the request works again), ``exits`` what KVM_RUN does: reactions
    that may first write to ``run``, the shared area of the vCPU. ``open_fds`` shows leaks.
    """

    def __init__(self) -> None:
        self.capabilities = dict(CAPABILITIES)
        self.reactions: dict[int, Iterator[Reaction]] = {}
        self.exits: Iterator[Reaction] = iter(())
        self.run = bytearray(RUN_SIZE)
        self.open_fds: set[int] = set()
        self.calls: Counter[int] = Counter()
        self.open_error = 0
        self.map_error = 0
        self.version = abi.API_VERSION

    def open(self, path: str) -> int:
        if self.open_error:
            error(self.open_error)()
        return self._new_fd()

    def ioctl(self, fd: int, request: int, argument: int | bytearray = 0) -> int:
        if fd not in self.open_fds:
            error(errno.EBADF)()
        self.calls[request] += 1
        reaction = next(self.reactions.get(request, iter(())), None)
        if reaction is not None:
            return reaction()
        match request:
            case abi.GET_API_VERSION:
                return self.version
            case abi.CHECK_EXTENSION:
                return self.capabilities.get(Capability(int(argument)), 0)
            case abi.GET_VCPU_MMAP_SIZE:
                return RUN_SIZE
            case abi.CREATE_VM | abi.CREATE_VCPU:
                return self._new_fd()
            case abi.RUN:
                return self._run()
            case x86.GET_SUPPORTED_CPUID | x86.GET_MSR_INDEX_LIST:
                assert isinstance(argument, bytearray)
                argument[0:4] = bytes(4)
        return 0

    def map(self, fd: int, size: int) -> bytearray:
        if self.map_error:
            error(self.map_error)()
        return self.run

    def close(self, fd: int) -> None:
        self.open_fds.remove(fd)

    # What a vCPU does

    def exit(self, reason: ExitReason, data: bytes = b"") -> Reaction:
        """A reaction: come back from the guest for ``reason``."""

        def come_back() -> int:
            abi.U32.pack_into(self.run, Run.EXIT_REASON, reason)
            self.run[Run.UNION : Run.UNION + len(data)] = data
            return 0

        return come_back

    def _run(self) -> int:
        if self.run[Run.IMMEDIATE_EXIT]:
            error(errno.EINTR)()
        return next(self.exits)()

    def _new_fd(self) -> int:
        fd = next(number for number in range(100, 1000) if number not in self.open_fds)
        self.open_fds.add(fd)
        return fd
