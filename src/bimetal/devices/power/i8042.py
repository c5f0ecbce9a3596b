"""The 8042 keyboard controller as far as it resets the machine: no keyboard, no mouse.

Source: IBM PC/AT Technical Reference, "Keyboard Controller". Commands that would reach a keyboard
are logged and ignored; the status register says that nothing waits in either direction, so that
no driver hangs.
"""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.devices.timer.pit import SPEAKER, Pit
from bimetal.memory.access import Access
from bimetal.seam import Shutdown, ShutdownKind

__all__ = ["I8042"]

PULSE_OUTPUT, RESET_LINE = 0xF0, 0x01
WRITE_OUTPUT = 0xD1
SYSTEM_FLAG = 1 << 2


class I8042(Device):
    """Ports 60 to 64; ``power`` resets the machine. Among these ports is 61, which is
    a register of ``timer``."""

    kind = "i8042"
    mmio_size = 5
    access = Access(width=1)
    saved = ("output_follows",)
    fixed = ("timer",)

    DATA = Reg(0, size=1, writable=0, doc="port 60")
    SPEAKER = Reg(1, size=1, writable=0, doc="port 61")
    STATUS = Reg(4, size=1, writable=0, reset=SYSTEM_FLAG, doc="port 64; writing is a command")

    power = Out(Shutdown)

    def __init__(self, timer: Pit):
        self.timer = timer
        self.output_follows = False
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.output_follows = False

    def r_SPEAKER(self) -> int:
        return self.timer.read(SPEAKER, 1)

    def w_SPEAKER(self, written: Value) -> None:
        self.timer.write(SPEAKER, 1, written)

    def w_STATUS(self, written: Value) -> None:
        self.output_follows = written == WRITE_OUTPUT
        if self.output_follows:
            return
        if written & PULSE_OUTPUT == PULSE_OUTPUT:
            self._drive_output(written)  # the lines whose bits are 0 go low for a moment
        else:
            raise GuestError(f"command {written:#x} to a controller without a keyboard")

    def w_DATA(self, written: Value) -> None:
        if not self.output_follows:
            raise GuestError(f"data {written:#x} to a keyboard that is not there")
        self.output_follows = False
        self._drive_output(written)

    def _drive_output(self, levels: int) -> None:
        """Bit 0 of the output port is the processor's reset line, active low."""
        if not levels & RESET_LINE:
            self.power(Shutdown(ShutdownKind.RESET))
