"""Debug requests as x86 debug registers, and debug exits as the seam's stops.

DR7 enables DR0 to DR3 by the pairs of its low bits; its bits from 16 on give each a condition
(0 execute, 1 write, 3 read or write) and a length (SDM volume 3, chapter "Debug Registers").
"""

from __future__ import annotations

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.base.errors import BimetalError
from bimetal.seam import DebugRequest, DebugStop

__all__ = ["debug_registers", "decode_stop"]

EXECUTE, WRITE, READ_WRITE = 0, 1, 3
LENGTHS = {1: 0, 2: 1, 4: 3, 8: 2}
DR6_SINGLE_STEP = 1 << 14
DR6_HITS = 0b1111
DR7_ALWAYS_ONE = 1 << 10
BREAKPOINT_EXCEPTION = 3
LIMIT = 4


def debug_registers(request: DebugRequest) -> bytearray:
    """The argument of KVM_SET_GUEST_DEBUG. BimetalError if x86 cannot watch all of it."""
    points = _points(request)
    if len(points) > LIMIT:
        raise BimetalError(
            f"x86 has {LIMIT} debug registers, {len(points)} breakpoints and watchpoints need more",
            "remove some, or put breakpoint instructions into the guest's memory",
        )
    dr7 = DR7_ALWAYS_ONE
    control = 0
    if request.step:
        control |= abi.GUESTDBG_SINGLESTEP
    if request.software_breakpoints:
        control |= abi.GUESTDBG_USE_SW_BP
    if points:
        control |= abi.GUESTDBG_USE_HW_BP
    if control:
        control |= abi.GUESTDBG_ENABLE
    argument = x86.GUEST_DEBUG.new(control=control)
    for number, (address, condition, length) in enumerate(points):
        x86.GUEST_DEBUG.put(argument, f"dr{number}", address)
        dr7 |= 2 << 2 * number | (length << 2 | condition) << 16 + 4 * number
    x86.GUEST_DEBUG.put(argument, "dr7", dr7)
    return argument


def _points(request: DebugRequest) -> list[tuple[int, int, int]]:
    """Address, condition and length code of each debug register that ``request`` needs."""
    points = [(address, EXECUTE, 0) for address in sorted(request.breakpoints)]
    for watch in sorted(request.watchpoints, key=lambda each: each.address):
        if watch.size not in LENGTHS or watch.address % watch.size:
            raise BimetalError(
                f"x86 cannot watch {watch.size} bytes at {watch.address:#x}",
                "watch 1, 2, 4 or 8 bytes at a multiple of their number",
            )
        points.append((watch.address, READ_WRITE if watch.read else WRITE, LENGTHS[watch.size]))
    return points


def decode_stop(exception: int, pc: int, dr6: int, request: DebugRequest) -> DebugStop:
    """Which of ``request`` a debug exit is about."""
    if exception == BREAKPOINT_EXCEPTION:
        return DebugStop(pc, "breakpoint")
    hits = dr6 & DR6_HITS
    if hits:
        first = (hits & -hits).bit_length() - 1
        is_break = first < len(request.breakpoints)
        return DebugStop(pc, "breakpoint" if is_break else "watchpoint")
    return DebugStop(pc, "step")
