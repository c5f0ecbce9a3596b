"""The RISC-V platform-level interrupt controller (RISC-V PLIC specification 1.0.0).

Numbered sources on one side, contexts (a hart in a privilege mode) on the other. Each source has a
priority; each context enables sources, masks priorities up to a threshold, and is told by its line
that some source is pending. The hart then *claims* the best source and later *completes* it.

A source requests an interrupt when its level rises, and again whenever its device does something
and leaves it high. While an earlier request is being served, its *gateway* keeps the new one, and
forwards it on completion if the level is still high. A request that was forwarded stays.

Deviations, for guests that are made for QEMU's boards: a gateway (chapter 3) forwards nothing on
completion if its device has done nothing since the claim, however high the level is, so a handler
that leaves its device alone is not called for ever; and completion counts for a source that the
context does not enable any more, because handlers disable what they serve.
"""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device, Property
from bimetal.devices.irq.pin import Pin
from bimetal.devices.output import Outs
from bimetal.devices.register import RegArray, Value

__all__ = ["Plic"]

ENABLE_WORDS = 32
"""32-bit words of enable bits that the layout gives each context."""


class Plic(Device):
    """A PLIC with ``sources`` inputs, numbered from 1, for ``contexts`` contexts.

    ``plic[n]`` is the pin of source ``n``; ``notify[c]`` is the line to context ``c``.
    """

    kind = node_name = "plic"
    compatible = ("sifive,plic-1.0.0", "riscv,plic0")
    fixed = ("sources", "contexts", "priorities", "pending_words", "enable_words", "_wired")
    saved = ("levels", "pending", "claimed", "kept", "_enabled")

    # The first in the list is found first, and a claim happens twice an interrupt.
    CLAIM = RegArray(0x20_0004, "contexts", stride=0x1000, writable=0, doc="claim, complete")
    THRESHOLD = RegArray(0x20_0000, "contexts", stride=0x1000, writable=7)
    ENABLE = RegArray(0x2000, "enable_words", doc="32 words a context")
    PRIORITY = RegArray(0x0, "priorities", writable=7)
    PENDING = RegArray(0x1000, "pending_words", readonly=True)

    notify = Outs("contexts")

    def __init__(self, sources: int, contexts: int, mmio_size: int = 0x60_0000):
        if not 1 <= sources <= 1023:
            raise ValueError(f"a PLIC has 1 to 1023 sources, not {sources}")
        if not 1 <= contexts <= (mmio_size - 0x20_0000) // 0x1000:
            raise ValueError(f"{contexts} contexts do not fit in {mmio_size:#x} bytes")
        self.sources, self.contexts, self.mmio_size = sources, contexts, mmio_size
        self.priorities, self.pending_words = sources + 1, sources // 32 + 1
        self.enable_words = contexts * ENABLE_WORDS
        self._wired = (1 << sources + 1) - 2
        self.levels = self.pending = self.claimed = self.kept = 0
        self._enabled = [0] * contexts
        super().__init__()

    def __getitem__(self, source: int) -> Pin:
        if not 1 <= source <= self.sources:
            raise IndexError(f"{self.name} has sources 1 to {self.sources}, not {source}")
        return Pin(self, source)

    def properties(self) -> Mapping[str, Property]:
        return {
            "interrupt-controller": None,
            "#interrupt-cells": 1,
            "#address-cells": 0,
            "riscv,ndev": self.sources,
        }

    def reset(self) -> None:
        super().reset()
        self.pending = self.claimed = self.kept = 0
        self._enabled = [0] * self.contexts
        self._notify()

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        source = 1 << number
        if not level:
            self.levels &= ~source
            self.kept &= ~source
        elif not self.levels & source:
            self.levels |= source
            self.renew_input(number)

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`."""
        source = 1 << number
        if self.claimed & source:
            self.kept |= source
        elif not self.pending & source:
            self.pending |= source
            self._notify()

    def w_PRIORITY(self, index: int, written: Value) -> None:
        self.PRIORITY[0] = 0  # there is no source of that number
        self._notify()

    def r_PENDING(self, index: int) -> int:
        return self.pending >> 32 * index & 0xFFFF_FFFF

    def w_ENABLE(self, index: int, written: Value) -> None:
        context = index // ENABLE_WORDS
        self._enabled[context] = self._enable_bits(context)
        self.ENABLE[index] = self._enabled[context] >> 32 * (index % ENABLE_WORDS) & 0xFFFF_FFFF
        self._notify()

    def w_THRESHOLD(self, index: int, written: Value) -> None:
        self._notify()

    def r_CLAIM(self, index: int) -> int:
        source = self._best(index, threshold=0)
        if source:
            self.pending &= ~(1 << source)
            self.claimed |= 1 << source
            self._notify()
        return source

    def w_CLAIM(self, index: int, written: Value) -> None:
        source = 1 << written if written <= self.sources else 0
        if not source & self.claimed:
            raise GuestError("completion of a source that nobody has claimed")
        self.claimed &= ~source
        self.pending |= self.kept & source
        self.kept &= ~source
        self._notify()

    def _enable_bits(self, context: int) -> int:
        words = self.ENABLE[context * ENABLE_WORDS : (context + 1) * ENABLE_WORDS]
        return sum(word << 32 * index for index, word in enumerate(words)) & self._wired

    def _best(self, context: int, threshold: int) -> int:
        """The pending source of the highest priority above ``threshold``, the lowest number among
        equals; 0 if there is none. A claim ignores the threshold of the context."""
        candidates = self.pending & self._enabled[context]
        priority, best, best_priority = self.PRIORITY, 0, threshold
        while candidates:
            source = (candidates & -candidates).bit_length() - 1
            candidates &= candidates - 1
            if priority[source] > best_priority:
                best, best_priority = source, priority[source]
        return best

    def _notify(self) -> None:
        pending, threshold = self.pending, self.THRESHOLD
        for context, line in enumerate(self.notify):
            if pending & self._enabled[context]:
                line(self._best(context, threshold[context]) != 0)
            elif line.high:
                line(False)
