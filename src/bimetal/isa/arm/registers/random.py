"""Random numbers (FEAT_RNG, D17.2.135): those of the host's kernel, which always has some."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu
from ..flags import set_flags
from ..sysregs import system_register

__all__: list[str] = []


def _drawn(cpu: Cpu) -> Value:
    number = cpu.host("random", 64)
    set_flags(cpu, 0, 0, 0, 0)  # Z would say that there was none
    return number


system_register("rndr", (3, 3, 2, 4, 0), _drawn, extension="rng", shown=False)
system_register("rndrrs", (3, 3, 2, 4, 1), _drawn, extension="rng", shown=False)
