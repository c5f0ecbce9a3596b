"""A virtual machine of KVM's: memory, vCPUs, doorbells. The architectures build upon it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.abi import Capability
from bimetal.accel.kvm.coalesced import CoalescedRing
from bimetal.accel.kvm.device import Device, KvmUnavailable
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.memory import SlotTable
from bimetal.accel.kvm.vcpu import KvmCpu
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.seam import Doorbell, MemorySlot

__all__ = ["KvmMachine"]

DEFAULT_SLOTS = 32
"""What kernels allowed before they could be asked."""


class KvmMachine(ABC):
    """What runs the CPUs of one machine: a `bimetal.seam.Accelerator`.

    It owns ``device`` and closes it. ``cpus`` is how many CPUs the machine will have.
    """

    name = "kvm"
    models: tuple[str, ...] = ("host",)
    """All processor models, the default one first."""
    stands_in = False
    """Whether its interrupt controllers take the place of those that a board has itself."""

    def __init__(self, device: Device, cpus: int = 1):
        self.device = device
        if cpus > device.max_cpus:
            raise KvmUnavailable(
                f"{cpus} CPUs are more than the {device.max_cpus} that KVM allows in a machine",
                "give the machine fewer CPUs, or choose another accelerator",
            )
        self.cpu_count = cpus
        self.cpus: list[KvmCpu] = []
        self._first: KvmCpu | None = None
        limit = device.capability(Capability.NR_MEMSLOTS) or DEFAULT_SLOTS
        readonly = bool(device.capability(Capability.READONLY_MEM))
        ring_page = device.capability(Capability.COALESCED_MMIO)
        self.handle = Handle(device.kernel, device.create_vm())
        self.memory = SlotTable(self.handle, limit, readonly)
        self.coalesced = CoalescedRing(self.handle, ring_page)
        try:
            self._set_up()
        except BaseException:
            self.handle.close()
            raise

    @classmethod
    def check_model(cls, model: str) -> None:
        """Raise `BimetalError` for a name that is no processor model, on any host."""
        if model not in cls.models:
            raise BimetalError(
                f"KVM has no processor model {model!r} for such guests",
                choose_from(model, cls.models),
                ExitCode.USAGE,
            )

    @abstractmethod
    def _set_up(self) -> None:
        """What this architecture does before the first CPU; the machine exists and is empty."""

    @abstractmethod
    def _create_cpu(self, index: int) -> KvmCpu:
        """A vCPU of this architecture."""

    def add_cpu(self, index: int) -> KvmCpu:
        """Create the vCPU ``index``, in its reset state; indices count from 0."""
        if index >= self.device.max_cpus:
            raise KvmUnavailable(
                f"CPU {index} is beyond the {self.device.max_cpus} that KVM allows in a machine",
                "give the machine fewer CPUs",
            )
        if index == 0 and self._first is not None:
            cpu, self._first = self._first, None
        else:
            cpu = self._create_cpu(index)
        self.cpus.append(cpu)
        return cpu

    def prove(self) -> None:
        """Create CPU 0 now, to be handed out later: whoever gets this machine knows it works."""
        if self._first is None and not self.cpus:
            self._first = self._create_cpu(0)

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """Replace the memory slots of all CPUs, none of which is running."""
        self.memory.replace(slots)

    def log_dirty(self, enabled: bool) -> None:
        """Start, with a clean log, or stop to record written pages of all writable slots."""
        self.memory.log_dirty(enabled)

    def take_dirty(self) -> Mapping[int, bytes]:
        """Pages written since the last call, a bitmap for each slot's base."""
        return self.memory.take_dirty()

    def coalesce(self, address: int, size: int, port: bool = False) -> None:
        """Collect stores that need no prompt answer; they come before the next exit."""
        needed = Capability.COALESCED_PIO if port else Capability.COALESCED_MMIO
        self.device.require(needed)
        self.coalesced.add(address, size, port)

    def add_doorbell(self, doorbell: Doorbell, fd: int) -> None:
        """Signal the eventfd ``fd`` for each such write, without an exit."""
        try:
            self._ioeventfd(doorbell, fd, 0)
        except FileExistsError:
            raise ValueError(f"{doorbell} rings already") from None

    def remove_doorbell(self, doorbell: Doorbell, fd: int) -> None:
        """Undo `add_doorbell`."""
        self._ioeventfd(doorbell, fd, abi.IOEVENTFD_DEASSIGN)

    def _ioeventfd(self, doorbell: Doorbell, fd: int, flags: int) -> None:
        if doorbell.value is not None:
            flags |= abi.IOEVENTFD_DATAMATCH
        if doorbell.port:
            flags |= abi.IOEVENTFD_PORT
        request = abi.IOEVENTFD.new(
            match=doorbell.value or 0,
            address=doorbell.address,
            length=doorbell.size,
            fd=fd,
            flags=flags,
        )
        self.handle.ioctl(abi.IOEVENTFD_REQUEST, request)

    def enable(self, capability: Capability, *arguments: int) -> None:
        """Switch an optional feature of the machine on: KVM_ENABLE_CAP. Raises OSError."""
        request = abi.CAPABILITY.new(number=capability)
        for position, argument in enumerate(arguments):
            abi.CAPABILITY.put(request, f"arg{position}", argument)
        self.handle.ioctl(abi.ENABLE_CAP, request)

    def close(self) -> None:
        """Close the CPUs and give everything back. Idempotent."""
        if self._first is not None:
            self._first.close()
            self._first = None
        for cpu in self.cpus:
            cpu.close()
        self.cpus.clear()
        self.handle.close()
        self.device.close()
