"""What is particular to the host's processor: its floating-point environment.

The guest's rounding mode and sticky flags live in the host's control register while native code
runs. A host is supported once it is described here; the register layouts come from the Intel SDM
(volume 1, 10.2.3).
"""

from __future__ import annotations

import platform

from ..base.errors import BimetalError

__all__ = ["Host", "current"]


class Host:
    """x86-64: MXCSR holds flags in bits 0 (IE) 2 (ZE) 3 (OE) 4 (UE) 5 (PE), rounding in 14:13."""

    read = "call void @llvm.x86.sse.stmxcsr(ptr {cell})"
    write = "call void @llvm.x86.sse.ldmxcsr(ptr {cell})"
    # All exceptions masked, no flags, nearest-even, denormals handled.
    default = 0x1F80
    # Host bit of each generic flag NX, UF, OF, DZ, NV (see ir.fp).
    flag_bits = (5, 4, 3, 2, 0)
    # Host rounding field of generic modes 0 nearest, 1 zero, 2 down, 3 up.
    rounding = (0, 3, 1, 2)
    rounding_shift = 13
    # Sixteen bytes looked up in sixteen bytes; an index with its highest bit set gives 0 (SSSE3).
    byte_table = "call <16 x i8> @llvm.x86.ssse3.pshuf.b.128(<16 x i8> {}, <16 x i8> {})"

    @classmethod
    def flags_of(cls, environment: int) -> int:
        """Generic flags in a control register's value."""
        return sum((environment >> bit & 1) << n for n, bit in enumerate(cls.flag_bits))

    @classmethod
    def with_flags(cls, environment: int, flags: int) -> int:
        """A control register's value with these generic flags."""
        for n, bit in enumerate(cls.flag_bits):
            environment = environment & ~(1 << bit) | (flags >> n & 1) << bit
        return environment

    @classmethod
    def with_rounding(cls, environment: int, mode: int) -> int:
        """A control register's value with this generic rounding mode."""
        cleared = environment & ~(3 << cls.rounding_shift)
        return cleared | cls.rounding[mode & 3] << cls.rounding_shift


def current() -> type[Host]:
    """The host that this process runs on."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BimetalError(
            f"the jit does not know the floating-point environment of {platform.machine()} hosts",
            "run on an x86-64 host, or describe this one in codegen/host.py",
        )
    return Host
