"""The RISC-V advanced platform-level interrupt controller, one domain of it (RISC-V Advanced
Interrupt Architecture 1.0, chapter 4).

Numbered sources, each of which is used here, or delegated to the domain's child. A source is active
in a mode: detached, edge or level. How harts hear of what is pending and enabled is fixed for each
domain, as the specification allows: directly (`aplic_direct`) or by messages (`aplic_messages`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from bimetal.devices.device import Device, Property
from bimetal.devices.irq.pin import Pin
from bimetal.devices.register import Reg, RegArray, Value

__all__ = ["ENABLED", "FIXED", "HART", "HARTS_AT", "LEVELS", "Aplic", "each_source"]

FIXED, ENABLED = 0x80 << 24, 1 << 8
DELEGATED = 1 << 10
DETACHED, RISING, FALLING, HIGH, LOW = 1, 4, 5, 6, 7
"""Modes of sources (4.5.2); 0 is inactive, and others are reserved."""
MODES = {DETACHED, RISING, FALLING, HIGH, LOW}
INVERTED, LEVELS = {FALLING, LOW}, {HIGH, LOW}
HART = 18
"""Where the hart's number is in targets."""
MOST_SOURCES, MOST_HARTS = 1023, 1 << 14
HARTS_AT, HART_SIZE, GRANULE = 0x4000, 32, 0x4000
WORD = 32


def each_source(bits: int) -> Iterator[int]:
    """The numbers of the sources whose bits are set."""
    while bits:
        number = (bits & -bits).bit_length() - 1
        bits &= bits - 1
        yield number


class Aplic(Device):
    """A domain with ``sources`` sources, numbered from 1, for ``harts`` harts. ``child`` is the
    domain to which sources can be delegated; with ``delegating`` all are from reset on, as firmware
    would do it. ``aplic[n]`` is the pin of source ``n``."""

    kind = node_name = "aplic"
    compatible = ("riscv,aplic",)
    saved = ("levels", "pending", "enabled", "ours")
    fixed: ClassVar[tuple[str, ...]] = ("sources", "harts", "words", "child", "delegating")

    DOMAIN = Reg(0x0, reset=FIXED, writable=ENABLED, IE=8)
    SOURCE = RegArray(0x4, "sources", writable=0, doc="from source 1 on", D=10, SM=(2, 0))
    SET_PENDING = RegArray(0x1C00, "words", writable=0)
    SET_PENDING_NUMBER = Reg(0x1CDC, writable=0)
    INPUTS = RegArray(0x1D00, "words", writable=0, doc="inputs; writing clears what is pending")
    CLEAR_PENDING_NUMBER = Reg(0x1DDC, writable=0)
    SET_ENABLED = RegArray(0x1E00, "words", writable=0)
    SET_ENABLED_NUMBER = Reg(0x1EDC, writable=0)
    CLEAR_ENABLED = RegArray(0x1F00, "words", writable=0)
    CLEAR_ENABLED_NUMBER = Reg(0x1FDC, writable=0)
    SET_PENDING_LITTLE = Reg(0x2000, writable=0)
    SET_PENDING_BIG = Reg(0x2004, writable=0)
    MESSAGE = Reg(0x3000, writable=0, doc="genmsi")
    MESSAGE_ADDRESSES = RegArray(0x1BC0, 4, writable=0, doc="mmsiaddrcfg, smsiaddrcfg, halves")
    TARGET = RegArray(0x3004, "sources", writable=0, doc="from source 1 on", HART=(31, 18))

    def __init__(
        self, sources: int, harts: int, child: Aplic | None = None, *, delegating: bool = False
    ):
        if not 1 <= sources <= MOST_SOURCES or not 1 <= harts <= MOST_HARTS:
            raise ValueError(f"no APLIC has {sources} sources and {harts} harts")
        self.sources, self.harts, self.child = sources, harts, child
        self.words = sources // WORD + 1
        self.mmio_size = HARTS_AT - (-HART_SIZE * harts // GRANULE) * GRANULE
        self.delegating = delegating
        self.levels = self.pending = self.enabled = 0
        everything = (1 << sources + 1) - 2
        self.ours = everything
        """The sources that the parent, if there is one, has delegated."""
        super().__init__()
        if child is not None:
            child.ours = 0
        self.prepare()

    def __getitem__(self, source: int) -> Pin:
        if not 1 <= source <= self.sources:
            raise IndexError(f"{self.name} has sources 1 to {self.sources}, not {source}")
        return Pin(self, source)

    def properties(self) -> Mapping[str, Property]:
        return {
            "interrupt-controller": None,
            "#interrupt-cells": 2,
            "#address-cells": 0,
            "riscv,num-sources": self.sources,
        }

    def reset(self) -> None:
        super().reset()
        self.pending = self.enabled = 0
        if self.child is not None:
            for source in range(1, self.sources + 1):
                self.child.own(source, False)
        self.prepare()
        self.notify_harts()

    def prepare(self) -> None:
        """What firmware would have done after a reset, if the board is its own firmware."""
        if self.delegating:
            for index in range(self.sources):
                self._configure(index + 1, DELEGATED)

    # Inputs

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        source = 1 << number
        before = self.rectified(number)
        self.levels = self.levels | source if level else self.levels & ~source
        config = self.SOURCE[number - 1]
        if config & DELEGATED and self.child is not None:
            self.child.set_input(number, level)
            return
        after = self.rectified(number)
        if after and not before:
            self.pending |= source
        elif config in LEVELS and not after:
            self.pending &= ~source
        self.notify_harts()

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`: a level says all there is to say."""

    def own(self, number: int, ours: bool) -> None:
        """The parent has delegated source ``number``, or has taken it back."""
        source = 1 << number
        if bool(self.ours & source) != ours:
            self.ours ^= source
            self._configure(number, 0)

    def rectified(self, number: int) -> bool:
        """The input as the mode of the source reads it; low if there is none (4.7)."""
        config = self.SOURCE[number - 1]
        if config & DELEGATED or config not in MODES or config == DETACHED:
            return False
        return bool(self.levels >> number & 1) != (config in INVERTED)

    # Sources

    def w_SOURCE(self, index: int, written: Value) -> None:
        number = index + 1
        if not self.ours >> number & 1:
            return
        if written & DELEGATED:
            self._configure(number, DELEGATED if self.child is not None else 0)
        else:
            self._configure(number, written & 7 if written & 7 in MODES else 0)

    def _configure(self, number: int, config: int) -> None:
        source = 1 << number
        self.SOURCE[number - 1] = config
        if self.child is not None:
            self.child.own(number, bool(config & DELEGATED))
            if config & DELEGATED:
                self.child.set_input(number, bool(self.levels & source))
        if config not in MODES:
            self.pending &= ~source
            self.enabled &= ~source
            self.TARGET[number - 1] = 0
        else:
            self.TARGET[number - 1] = self.target(self.TARGET[number - 1])
        if config in LEVELS:
            high = self.rectified(number)
            self.pending = self.pending | source if high else self.pending & ~source
        self.notify_harts()

    def w_TARGET(self, index: int, written: Value) -> None:
        if self.SOURCE[index] in MODES:
            self.TARGET[index] = self.target(written)
            self.notify_harts()

    def target(self, written: int) -> int:
        """What becomes of a target that is written (4.5.16)."""
        raise NotImplementedError

    def hart(self, target: int) -> int:
        """The hart of a target, in its place; hart 0 instead of one that there is not."""
        return target >> HART << HART if target >> HART < self.harts else 0

    # Bits of sources: in words, and by numbers

    def _active(self, bits: int, *, levels: bool) -> int:
        """``bits`` of the sources that are active, those of modes by level only with ``levels``."""
        kept = 0
        for number in each_source(bits & (1 << self.sources + 1) - 2):
            config = self.SOURCE[number - 1]
            if config in MODES and (levels or config not in LEVELS):
                kept |= 1 << number
        return kept

    def settable(self, bits: int) -> int:
        """Those of the sources in ``bits`` that software may make pending now (4.7)."""
        return self._active(bits, levels=False)

    def clearable(self, bits: int) -> int:
        """Those of the sources in ``bits`` that software may have pending no more (4.7)."""
        return self._active(bits, levels=False)

    def _part(self, bits: int, index: int) -> int:
        return bits >> WORD * index & 0xFFFF_FFFF

    def r_SET_PENDING(self, index: int) -> int:
        return self._part(self.pending, index)

    def w_SET_PENDING(self, index: int, written: Value) -> None:
        self.pending |= self.settable(written << WORD * index)
        self.notify_harts()

    def r_INPUTS(self, index: int) -> int:
        numbers = range(max(1, WORD * index), min(WORD * (index + 1), self.sources + 1))
        return sum(1 << number - WORD * index for number in numbers if self.rectified(number))

    def w_INPUTS(self, index: int, written: Value) -> None:
        self.pending &= ~self.clearable(written << WORD * index)
        self.notify_harts()

    def r_SET_ENABLED(self, index: int) -> int:
        return self._part(self.enabled, index)

    def w_SET_ENABLED(self, index: int, written: Value) -> None:
        self.enabled |= self._active(written << WORD * index, levels=True)
        self.notify_harts()

    def w_CLEAR_ENABLED(self, index: int, written: Value) -> None:
        self.enabled &= ~(written << WORD * index)
        self.notify_harts()

    def w_SET_PENDING_NUMBER(self, written: Value) -> None:
        self.w_SET_PENDING(0, self._bit(written))

    w_SET_PENDING_LITTLE = w_SET_PENDING_NUMBER

    def w_SET_PENDING_BIG(self, written: Value) -> None:
        swapped = int.from_bytes(int(written).to_bytes(4, "little"), "big")
        self.w_SET_PENDING(0, self._bit(swapped))

    def w_CLEAR_PENDING_NUMBER(self, written: Value) -> None:
        self.w_INPUTS(0, self._bit(written))

    def w_SET_ENABLED_NUMBER(self, written: Value) -> None:
        self.w_SET_ENABLED(0, self._bit(written))

    def w_CLEAR_ENABLED_NUMBER(self, written: Value) -> None:
        self.w_CLEAR_ENABLED(0, self._bit(written))

    def _bit(self, number: int) -> Value:
        """The bit of a source by its number; none, if there is no such source."""
        return Value(1 << number if 1 <= number <= self.sources else 0)

    def w_DOMAIN(self, written: Value) -> None:
        self.notify_harts()

    def notify_harts(self) -> None:
        """Something may be pending and enabled, or no more."""
        raise NotImplementedError
