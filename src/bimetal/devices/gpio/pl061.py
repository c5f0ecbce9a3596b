"""The PrimeCell GPIO PL061 (Arm DDI 0190): eight lines, each an input that may interrupt or an
output.

A line that is neither driven from outside nor an output reads 0, as if pulled down.
"""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.devices.device import Property
from bimetal.devices.irq.pin import Pin
from bimetal.devices.output import Out, Outs
from bimetal.devices.primecell import PrimeCell
from bimetal.devices.register import Reg, RegArray, Value

__all__ = ["Pl061"]

LINES = 8


class Pl061(PrimeCell):
    """``gpio[n]`` is the input of line n, ``lines[n]`` its output."""

    kind = "gpio"
    node_name = "pl061"
    compatible = ("arm,pl061", "arm,primecell")
    acpi = ("ARMH0061", "GPO")
    peripheral_id = 0x061
    saved = ("inputs", "written", "raised", "_seen")

    DATA = RegArray(0x000, 256, writable=0, doc="the lines; address bits 9 to 2 say which")
    DIR = Reg(0x400, writable=0xFF, doc="1 is an output")
    IS = Reg(0x404, writable=0xFF, doc="1 is a level")
    IBE = Reg(0x408, writable=0xFF, doc="1 is both edges")
    IEV = Reg(0x40C, writable=0xFF, doc="1 is a rise, or high")
    IE = Reg(0x410, writable=0xFF, doc="1 interrupts")
    RIS = Reg(0x414, readonly=True)
    MIS = Reg(0x418, readonly=True)
    IC = Reg(0x41C, writable=0)
    AFSEL = Reg(0x420, writable=0xFF, doc="hardware control of outputs is not there")

    irq = Out()
    lines = Outs(LINES)

    def __init__(self) -> None:
        self.inputs = self.written = self.raised = 0
        super().__init__()
        self._seen = 0

    def __getitem__(self, line: int) -> Pin:
        if not 0 <= line < LINES:
            raise IndexError(f"{self.name} has lines 0 to {LINES - 1}, not {line}")
        return Pin(self, line)

    def properties(self) -> Mapping[str, Property]:
        return {"gpio-controller": None, "#gpio-cells": 2}

    def reset(self) -> None:
        super().reset()
        self.written = self.raised = 0
        self._seen = self.inputs
        self._update()

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        self.inputs = self.inputs & ~(1 << number) | level << number
        self._update()

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`: a line that is high is nothing new."""

    def r_DATA(self, index: int) -> int:
        return self._levels() & index

    def w_DATA(self, index: int, written: Value) -> None:
        chosen = index & self.DIR
        self.written = self.written & ~chosen | written & chosen
        self._update()

    def w_DIR(self, written: Value) -> None:
        self._update()

    def w_IS(self, written: Value) -> None:
        self._update()

    def w_IBE(self, written: Value) -> None:
        self._update()

    def w_IEV(self, written: Value) -> None:
        self._update()

    def w_IE(self, written: Value) -> None:
        self._update()

    def r_RIS(self) -> int:
        return self.raised

    def r_MIS(self) -> int:
        return self.raised & self.IE

    def w_IC(self, written: Value) -> None:
        self.raised &= ~written
        self._update()

    def _levels(self) -> int:
        """What the lines show: what is written to outputs, what arrives at inputs."""
        return self.written & self.DIR | self.inputs & ~self.DIR

    def _update(self) -> None:
        levels = self._levels()
        for number, line in enumerate(self.lines):
            line(bool(levels & self.DIR & 1 << number))
        changed, self._seen = levels ^ self._seen, levels
        edges = changed & (self.IBE | ~(levels ^ self.IEV)) & ~self.IS & ~self.DIR
        wanted = ~(levels ^ self.IEV) & self.IS & ~self.DIR & 0xFF
        self.raised = (self.raised | edges) & ~self.IS | wanted
        self.irq(bool(self.raised & self.IE))
