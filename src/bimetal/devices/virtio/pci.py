"""The PCI transport of virtio devices (virtio 1.2, section 4.1).

Shared memory regions, the reset of single queues (VIRTIO_F_RING_RESET) and notifications with data
(VIRTIO_F_NOTIFICATION_DATA) are not offered, as the standard allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bimetal.devices.pci.bar import Bar, Kind
from bimetal.devices.pci.capabilities import (
    EndpointCapability,
    IntegratedCapability,
    PowerManagement,
)
from bimetal.devices.pci.config import Capability
from bimetal.devices.pci.function import Endpoint, Identity
from bimetal.devices.pci.messages import add_msix
from bimetal.devices.register import Reg, Value
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.input import VirtioInput
from bimetal.devices.virtio.pci_legacy import LegacyPorts
from bimetal.devices.virtio.pci_registers import (
    COMMON,
    DEVICE,
    ISR,
    NO_VECTOR,
    NOTIFY,
    NOTIFY_STRIDE,
    PciRegisters,
)
from bimetal.memory.contents import Area, Stored
from bimetal.memory.space import AddressSpace

__all__ = ["VirtioPci"]

VENDOR, MODERN, REVISION = 0x1AF4, 0x1040, 1
TRANSITIONAL = {1: 0x1000, 2: 0x1001, 3: 0x1003, 4: 0x1005, 5: 0x1002, 8: 0x1004, 9: 0x1009}
"""The numbers of functions that have ports for old drivers, by the virtio numbers of devices; their
revision is 0."""
SUBSYSTEM = 0x1100
"""What QEMU's functions say there, and drivers do not ask."""
CLASSES = {
    1: 0x02_0000, 2: 0x01_0000, 3: 0x07_8000, 8: 0x01_0000, 9: 0x00_0200, 16: 0x03_8000,
    19: 0x07_8000,
}  # fmt: skip
"""The classes of devices by their virtio numbers: network, storage, communication, display.
Firmware looks for a screen among displays alone."""
OTHER = 0x00_FF00
PORTS_BAR, TABLE_BAR, REGISTERS_BAR = 0, 1, 4
USED_BUFFER, CONFIG_CHANGE = 1, 2
INTA = 1


class StructureCapability(Capability):
    """Where a structure of registers is (4.1.4)."""

    number = 0x09
    mmio_size = 0x10

    LENGTH = Reg(0x02, 1, writable=0)
    TYPE = Reg(0x03, 1, writable=0)
    BAR = Reg(0x04, 1, writable=0)
    OFFSET = Reg(0x08, 4, writable=0)
    SIZE = Reg(0x0C, 4, writable=0)

    fixed = ("_place",)

    def __init__(self, structure: int, offset: int, size: int):
        self._place = structure, offset, size
        super().__init__()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.LENGTH, self.BAR = self.mmio_size, REGISTERS_BAR
        self.TYPE, self.OFFSET, self.SIZE = self._place


class NotifyCapability(StructureCapability):
    """Where notifications go, and how far apart those of queues are (4.1.4.4)."""

    mmio_size = 0x14

    MULTIPLIER = Reg(0x10, 4, writable=0)

    def reset(self) -> None:
        super().reset()
        self.MULTIPLIER = NOTIFY_STRIDE


class AccessCapability(Capability):
    """Access to the registers by way of configuration space (4.1.4.9)."""

    number = 0x09
    mmio_size = 0x14

    LENGTH = Reg(0x02, 1, writable=0)
    TYPE = Reg(0x03, 1, writable=0)
    BAR = Reg(0x04, 1)
    OFFSET = Reg(0x08, 4)
    SIZE = Reg(0x0C, 4)
    DATA = Reg(0x10, 4)

    fixed = ("_structures",)

    def __init__(self, registers: PciRegisters):
        self._structures = registers
        super().__init__()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.LENGTH, self.TYPE = self.mmio_size, 5

    def r_DATA(self) -> int:
        return self._structures.read(self.OFFSET, self.SIZE) if self._usable() else 0

    def k_DATA(self) -> int:
        return 0

    def w_DATA(self, written: Value) -> None:
        if self._usable():
            size = int(self.SIZE)
            self._structures.write(self.OFFSET, size, written & (1 << 8 * size) - 1)

    def _usable(self) -> bool:
        size, offset = self.SIZE, self.OFFSET
        return (
            self.BAR == REGISTERS_BAR
            and size in (1, 2, 4)
            and offset % size == 0
            and offset + size <= self._structures.mmio_size
        )


class VirtioPci(Endpoint):
    """A function that carries ``device``. It is ``integrated`` in the root complex, and then
    transitional if it can be, so that drivers from before virtio 1 can use it too; or else an
    endpoint that is plugged into a port. ``space`` is the memory that the device's rings and
    buffers lie in; for ``defer`` see `VirtioDevice.plug`."""

    kind = "virtio_pci"
    saved = ("interrupt_status", "config_vector", "queue_vectors", "structures", "ports", "device")
    fixed = ("_power", "_table")

    def __init__(
        self,
        device: VirtioDevice,
        space: AddressSpace,
        defer: Turns | None = None,
        *,
        integrated: bool = False,
    ):
        self.device = device
        self.interrupt_status = 0
        self.config_vector = NO_VECTOR
        self.queue_vectors: list[int] = []
        old = TRANSITIONAL.get(device.device_id) if integrated else None
        super().__init__(_identity(device, old), INTA)
        device.events = self.events
        device.plug(self, space, defer)
        self.structures = PciRegisters(device, self)
        self.structures.events = self.events
        self._power = PowerManagement(lambda: self.moved(self))
        for structure, offset in ((1, COMMON), (3, ISR), (4, DEVICE)):
            self.add_capability(StructureCapability(structure, offset, 0x1000))
        self.add_capability(NotifyCapability(2, NOTIFY, 0x1000))
        self.add_capability(AccessCapability(self.structures))
        self._table = add_msix(self, len(device.queues) + 1, TABLE_BAR)
        self.add_capability(self._power)
        express = IntegratedCapability if integrated else EndpointCapability
        self.add_capability(express(self.reset))
        self.add_bar(TABLE_BAR, Bar(self._table, 0x1000))
        size = self.structures.mmio_size
        self.add_bar(REGISTERS_BAR, Bar(self.structures, size, wide=True, prefetchable=True))
        self.ports = LegacyPorts(device, self)
        self.ports.events = self.events
        if old is not None:
            self.add_bar(PORTS_BAR, Bar(self.ports, self.ports.mmio_size, Kind.IO))
        self._forget()

    def rename(self, name: str) -> None:
        super().rename(name)
        self.structures.name, self._table.name = f"{name}.registers", f"{name}.msix"
        self.ports.name = f"{name}.ports"

    def parts(self) -> Iterable[object]:
        return (self.device,)

    @property
    def awake(self) -> bool:
        return self._power.awake

    def reset(self) -> None:
        super().reset()
        self.structures.reset()
        self.ports.reset()
        self.reset_device()

    def close(self) -> None:
        self.device.close()

    def settle(self) -> None:
        self.device.settle()

    @property
    def renews(self) -> bool:
        return self.device.renews

    def forked(self) -> None:
        self.device.forked()

    def stack(self) -> None:
        self.device.stack()

    def let_go(self) -> None:
        self.device.let_go()

    def come_here(self) -> None:
        self.device.come_here()

    def check_forkable(self) -> None:
        self.device.check_forkable()

    def areas(self) -> Mapping[str, Area]:
        return self.device.areas()

    def stored(self) -> Iterable[Stored]:
        return self.device.stored()

    # See Transport

    def queue_interrupt(self, index: int) -> None:
        """See `Transport.queue_interrupt`."""
        if self._table.enabled:
            self._table.trigger(self.queue_vectors[index])
        else:
            self._raise(USED_BUFFER)

    def config_interrupt(self) -> None:
        """See `Transport.config_interrupt`."""
        if self._table.enabled:
            self.interrupt_status |= CONFIG_CHANGE
            self._table.trigger(self.config_vector)
        else:
            self._raise(CONFIG_CHANGE)

    def _raise(self, why: int) -> None:
        self.interrupt_status |= why
        self.interrupt(True)

    # See Vectors

    @property
    def has_messages(self) -> bool:
        """See `Vectors.has_messages`."""
        return self._table.enabled

    def usable_vector(self, vector: int) -> int:
        """See `Vectors.usable_vector`."""
        return vector if vector < self._table.vectors else NO_VECTOR

    def take_status(self) -> int:
        """See `Vectors.take_status`."""
        status, self.interrupt_status = self.interrupt_status, 0
        self.interrupt(False)
        return status

    def reset_device(self) -> None:
        """See `Vectors.reset_device`."""
        self.device.reset()
        self.device.legacy = False
        self._forget()
        self.interrupt(False)

    def _forget(self) -> None:
        self.interrupt_status = 0
        self.config_vector = NO_VECTOR
        self.queue_vectors = [NO_VECTOR] * len(self.device.queues)


def _identity(device: VirtioDevice, old: int | None) -> Identity:
    """What the function says it is; ``old`` is its number if it is transitional."""
    device_id = device.device_id
    kind = CLASSES.get(device_id, OTHER)
    if isinstance(device, VirtioInput):
        kind = device.kind.pci_class
    if old is None:
        return Identity(VENDOR, MODERN + device_id, kind, REVISION, VENDOR, SUBSYSTEM)
    return Identity(VENDOR, old, kind, 0, VENDOR, device_id)
