"""Version 1 of the MMIO transport, from before virtio was a standard (virtio 1.2, section 4.2.4).

As QEMU has it: alignment 0 stands for the usual one, and the number of a queue's page is its
address if the driver has not said how large pages are. Teaching systems rely on both.
"""

from __future__ import annotations

from bimetal.devices.register import Reg, Value
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.mmio_slot import VirtioSlot
from bimetal.memory.space import AddressSpace

__all__ = ["VirtioMmioLegacy"]

ALIGNMENT = 4096
"""That of the used ring, unless the driver chooses another."""
MOST = 1 << 31


class VirtioMmioLegacy(VirtioSlot):
    """A slot for drivers that know nothing of virtio 1, and for those that know both."""

    VERSION = Reg(0x004, reset=1, readonly=True)
    GUEST_PAGE_SIZE = Reg(0x028, doc="of the unit of QUEUE_PFN")
    QUEUE_ALIGN = Reg(0x03C, doc="of the used ring")
    QUEUE_PFN = Reg(0x040, doc="the page at which the queue begins; 0: it is not used")
    QUEUE_READY = Reg(0x044, writable=0, doc="of version 2; some drivers write it all the same")

    saved = ("alignments", "pages")

    def __init__(
        self,
        device: VirtioDevice | None,
        space: AddressSpace,
        defer: Turns | None = None,
    ):
        super().__init__(device, space, defer)
        self.device.legacy = True
        self.alignments: list[int] = []
        """The alignment of each queue's used ring."""
        self.pages: list[int] = []
        """The page at which each queue begins, as the driver says it."""
        self._forget()

    def reset(self) -> None:
        super().reset()
        self._forget()

    def _forget(self) -> None:
        self.alignments = [ALIGNMENT] * len(self.device.queues)
        self.pages = [0] * len(self.device.queues)

    def w_STATUS(self, written: Value) -> None:
        """How large pages are, a driver says once: before the reset with which it begins (Linux
        does), and 4.2.4 has no reset forget it."""
        pages = self.GUEST_PAGE_SIZE
        super().w_STATUS(written)
        self.GUEST_PAGE_SIZE = pages

    def r_DEVICE_FEATURES(self) -> int:
        return 0 if self.DEVICE_FEATURES_SEL else self.device.offered_word(0)

    def w_QUEUE_ALIGN(self, written: Value) -> None:
        select = self.QUEUE_SEL
        if self._selected() is None or written & written - 1 or written > MOST:
            self.guest_error(
                "an alignment that is no power of two, or of a queue that is not there"
            )
        elif written and written != self.alignments[select]:
            self.alignments[select] = int(written)
            self._use(self.pages[select])

    def r_QUEUE_PFN(self) -> int:
        return self.pages[self.QUEUE_SEL] if self._selected() else 0

    def w_QUEUE_PFN(self, written: Value) -> None:
        if self._selected() is None:
            self.guest_error("use of a queue that does not exist")
        else:
            self._use(int(written))

    def _use(self, page: int) -> None:
        """Use the selected queue at ``page``; not, if that is 0."""
        select = self.QUEUE_SEL
        queue = self.device.queues[select]
        if queue.ready:
            self.device.disable_queue(select)
        self.pages[select] = page
        if page:
            size = self.GUEST_PAGE_SIZE
            unit = size & -size if size else 1
            queue.lay_out(page * unit, self.alignments[select])
            self.device.enable_queue(select)
