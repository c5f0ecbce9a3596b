"""The status registers that EL0 can access: NZCV, FPCR and FPSR (C5.2)."""

from __future__ import annotations

from ....ir import fp
from ....ir.value import Value, const
from ...trace import Cpu
from ..fp_access import AHP, DN, FZ, FZ16, IDC, RMODE, need_fp, set_rounding, update_fp_ready
from ..state import FLAGS
from ..sysregs import system_register

__all__: list[str] = []

# Where `ir.fp` has NX, UF, OF, DZ and NV, FPSR has IXC, UFC, OFC, DZC and IOC.
_FLAGS = (4, 3, 2, 1, 0)
QC = 1 << 27


def _read_nzcv(cpu: Cpu) -> Value:
    value = const(0, 64)
    for name, bit in zip(FLAGS, (31, 30, 29, 28), strict=True):
        value = value | getattr(cpu, name).zext(64) << bit
    return value


def _write_nzcv(cpu: Cpu, value: Value) -> None:
    for name, bit in zip(FLAGS, (31, 30, 29, 28), strict=True):
        setattr(cpu, name, value[bit])


def _write_fpcr(cpu: Cpu, value: Value) -> None:
    cpu.fpcr = value.trunc(32) & (AHP | DN | FZ | FZ16 | 3 << RMODE)
    set_rounding(cpu)
    update_fp_ready(cpu)


def _read_fpsr(cpu: Cpu) -> Value:
    raised = fp.flags().zext(64)
    value: Value = cpu.fpsr_qc.zext(64)
    for generic, bit in enumerate(_FLAGS):
        value = value | (raised.lsr(generic) & 1) << bit
    return value


def _write_fpsr(cpu: Cpu, value: Value) -> None:
    cpu.fpsr_qc = value.trunc(32) & (QC | IDC)
    raised = const(0, 64)
    for generic, bit in enumerate(_FLAGS):
        raised = raised | (value.lsr(bit) & 1) << generic
    fp.set_flags(raised.trunc(5))


def _trapped(cpu: Cpu, writes: bool, iss: Value) -> None:
    """They are trapped with the registers that they are about."""
    need_fp(cpu)


system_register("nzcv", (3, 3, 4, 2, 0), _read_nzcv, _write_nzcv)
system_register("fpcr", (3, 3, 4, 4, 0), lambda cpu: cpu.fpcr.zext(64), _write_fpcr, check=_trapped)
system_register("fpsr", (3, 3, 4, 4, 1), _read_fpsr, _write_fpsr, check=_trapped)
