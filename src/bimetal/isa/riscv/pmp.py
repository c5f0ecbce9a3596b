"""Physical memory protection: what it allows, and its registers (volume II, 3.7).

Its granularity is 4 KiB (G = 10), so that protection is a property of a page.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .csr import declare
from .state import PMP_COUNT, rv64
from .traps import MACHINE

__all__ = ["pmp_allows", "update_pmp_active"]

PMP_CONFIG, PMP_MODE, PMP_NA4 = 0x9F, 0x18, 0x10
PMP_ADDRESS = (1 << 54) - 1


@rv64.routine(returns=8, pa=64, priv=8)
def pmp_allows(cpu: Cpu, pa: Value, priv: Value) -> Value:
    """The R, W and X permissions (bits 0, 1, 2) that PMP gives to the page at ``pa``."""
    with when(cpu.firmware_calls == 1):
        ret(const(7, 8))  # no firmware, so nothing to keep the kernel from
    with when(cpu.pmp_active == 0):
        ret(select(priv == MACHINE, const(7, 8), 0))
    word = pa.lsr(2)
    below = const(0, 64)
    for n in range(PMP_COUNT):
        config, address = cpu.pmpcfg[n], cpu.pmpaddr[n]
        mode = config[4:3]
        top = address & ~0x3FF
        block = address | 0x1FF
        inside = ((word ^ block) & ~(block ^ (block + 1))) == 0
        tor = word.uge(below) & word.ult(top)
        matched = ((mode == 3) & inside) | ((mode == 1) & tor)
        with when(matched):
            # An unlocked entry does not bind M-mode (II 3.7.1).
            ret(select((priv == MACHINE) & (config[7] == 0), const(7, 8), config & 7))
        below = top
    return select(priv == MACHINE, const(7, 8), 0)


def _pmp_locked(cpu: Cpu, n: int) -> Value:
    """Whether pmpaddr n may not be written: locked, or the bottom of a locked range above."""
    locked = cpu.pmpcfg[n][7] == 1
    if n + 1 < PMP_COUNT:
        above = cpu.pmpcfg[n + 1]
        locked = locked | ((above[7] == 1) & (above[4:3] == 1))
    value: Value = locked
    return value


def _pmpaddr(n: int) -> None:
    def read(cpu: Cpu) -> Value:
        # With G = 10, low bits read by mode (II 3.7.1.1).
        address = cpu.pmpaddr[n]
        return select(cpu.pmpcfg[n][4] == 1, address | 0x1FF, address & ~0x3FF)

    def write(cpu: Cpu, value: Value) -> None:
        with when(~_pmp_locked(cpu, n)):
            cpu.pmpaddr[n] = value & PMP_ADDRESS
            cpu.host("flush", 0)

    declare(0x3B0 + n, f"pmpaddr{n}", read, write)


def _pmpcfg(number: int) -> None:
    first = number * 4

    def read(cpu: Cpu) -> Value:
        value = const(0, 64)
        for n in range(8):
            value = value | cpu.pmpcfg[first + n].zext(64) << 8 * n
        return value

    def write(cpu: Cpu, value: Value) -> None:
        for n in range(8):
            old, new = cpu.pmpcfg[first + n], value[8 * n + 7 : 8 * n] & PMP_CONFIG
            # NA4 cannot be chosen with 4 KiB granularity; W without R is reserved.
            na4, reserved = new[4:3] == 2, new[1:0] == 2
            keep = (old[7] == 1) | reserved
            new = select(na4, (new & 0xE7) | (old & 0x18), new)
            cpu.pmpcfg[first + n] = select(keep, old, new)
        update_pmp_active(cpu)
        cpu.host("flush", 0)

    declare(0x3A0 + number, f"pmpcfg{number}", read, write)


def update_pmp_active(cpu: Cpu) -> None:
    """Note whether any entry of physical memory protection is on: nothing is looked up if not."""
    active = const(0, 8)
    for n in range(PMP_COUNT):
        active = active | (cpu.pmpcfg[n] & PMP_MODE)
    cpu.pmp_active = active


for _n in range(PMP_COUNT):
    _pmpaddr(_n)
for _n in range(0, PMP_COUNT // 4, 2):
    _pmpcfg(_n)
rv64.state.constrain("pmpaddr", PMP_ADDRESS)
rv64.state.constrain(
    "pmpcfg", PMP_CONFIG, lambda config: config & PMP_MODE != PMP_NA4 and config & 3 != 2
)
rv64.state.constrain("pmp_active", PMP_MODE)
