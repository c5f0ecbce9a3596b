"""Machine timers and machine-level software interrupts of a RISC-V board.

The layout is that of SiFive's CLINT, which the RISC-V ACLINT specification (chapters 2 and 3)
describes as an MSWI device at 0x0 and an MTIMER device at 0x4000 in one.
"""

from __future__ import annotations

from functools import partial

from bimetal.base.clock import Clock
from bimetal.devices.device import Device
from bimetal.devices.output import Outs
from bimetal.devices.register import Reg, RegArray, Value

__all__ = ["TICK_NS", "TIMEBASE_HZ", "Aclint"]

TIMEBASE_HZ = 10_000_000
"""How fast ``mtime`` counts; the CPUs' ``time`` register counts the same ticks."""

TICK_NS = 1_000_000_000 // TIMEBASE_HZ

NEVER = (1 << 64) - 1


class Aclint(Device):
    """For each of ``harts`` harts: a software interrupt and a timer that compares with ``mtime``.

    ``msip[h]`` and ``mtip[h]`` are the lines to hart ``h``. ``mtime`` is ``clock`` in ticks of
    100 ns and cannot be set: CPUs read the same clock without asking.
    """

    kind = node_name = "clint"
    compatible = ("sifive,clint0", "riscv,clint0")
    mmio_size = 0x1_0000

    MTIMECMP = RegArray(0x4000, "harts", size=8, reset=NEVER)
    MSIP = RegArray(0x0, "harts", writable=1)
    MTIME = Reg(0xBFF8, size=8, writable=0)

    fixed = ("clock", "harts")
    saved = ("_timers",)

    msip = Outs("harts")
    mtip = Outs("harts")

    def __init__(self, clock: Clock, harts: int):
        if not 1 <= harts <= 4095:
            raise ValueError(f"a CLINT serves 1 to 4095 harts, not {harts}")
        self.clock, self.harts = clock, harts
        self._timers = [clock.timer(partial(self._fire, hart)) for hart in range(harts)]
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self._drive()

    def r_MTIME(self) -> int:
        return self.clock.now_ns() // TICK_NS

    def w_MTIME(self, written: Value) -> None:
        self.events.unimplemented("setting MTIME", f"to {written:#x}")

    def w_MSIP(self, index: int, written: Value) -> None:
        self.msip[index](bool(written & 1))

    def w_MTIMECMP(self, index: int, written: Value) -> None:
        self._compare(index)

    def _drive(self) -> None:
        for hart in range(self.harts):
            self.msip[hart](bool(self.MSIP[hart]))
            self._compare(hart)

    def _compare(self, hart: int) -> None:
        deadline = self.MTIMECMP[hart]
        due = self.r_MTIME() >= deadline
        if due or deadline == NEVER:
            self._timers[hart].cancel()
        else:
            self._timers[hart].arm(deadline * TICK_NS)
        self.mtip[hart](due)

    def _fire(self, hart: int) -> None:
        self.mtip[hart](True)
