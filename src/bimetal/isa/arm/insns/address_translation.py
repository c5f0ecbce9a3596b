"""Address translation instructions (C4.1.93.7, C5.3): AT, whose result is in PAR_EL1."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...contract import LOAD, STORE
from ...trace import Cpu, ret, when
from ..hosts import hosted
from ..memory_types import type_and_sharing
from ..mmu import (
    FAULT,
    LOOK,
    NO_PAN,
    ON_WALK,
    ONE_STAGE,
    SHAREABILITY,
    STAGE_2,
    STATUS,
    walk,
)
from ..state import a64
from ..syndromes import DATA_ABORT, EL0, EL1, EL2, TO_EL2, syndrome
from ..tables import EXTERNAL_ON_WALK
from .maintenance import system_instruction

TRAPPED = 1 << 44  # HCR_EL2.AT
WRITE, S1PTW, CM = 1 << 6, 1 << 7, 1 << 8  # of a data abort's syndrome
ADDRESS = (1 << 52) - 1 & ~0xFFF


@a64.routine(returns=64, found=64, el=8, both=8)
def described(cpu: Cpu, found: Value, el: Value, both: Value) -> Value:
    """PAR_EL1 of what `walk` has found, by ``both`` stages or by stage 1."""
    with when((found & FAULT) != 0):
        ret((found & 0x37F) | 1 << 11)
    memory = type_and_sharing(cpu, found, el, both)
    attributes, share = memory & 0xFF, memory.lsr(8)
    return (found & ADDRESS) | attributes << 56 | share << SHAREABILITY | 1 << 11


@a64.routine(address=64, access=8, el=8)
def tell(cpu: Cpu, address: Value, access: Value, el: Value) -> None:
    """Set PAR_EL1 to the translation of an address, or to the fault."""
    found = walk(cpu, address, access, el)
    # A walk that finds no memory for a table raises an exception (D8.12.2), and so does a fault of
    # stage 2 on EL1's own tables, which EL2 has to handle.
    of_tables = (found & (FAULT | STAGE_2 | ON_WALK)) == FAULT | STAGE_2 | ON_WALK
    status = found.lsr(STATUS) & 0x3F
    nothing = ((found & FAULT) != 0) & (status - EXTERNAL_ON_WALK + 1).ult(5)
    to_el2 = of_tables & (cpu.el == EL1)
    with when(nothing | to_el2):
        more = select(of_tables, const(S1PTW, 64), 0) | select(to_el2, const(TO_EL2, 64), 0)
        cpu.trap(syndrome(DATA_ABORT, WRITE | CM) | more | status, address)
    both = ((access & ONE_STAGE) == 0).zext(8)
    cpu.par = described(cpu, found, el, both)


def _translates(name: str, place: tuple[int, int, int, int], access: int, el: int) -> None:
    pan, both = name.endswith("p"), name.startswith("s12")
    kind = access | LOOK | (0 if both else ONE_STAGE) | (0 if pan else NO_PAN)
    trapped = 0 if place[0] else TRAPPED

    @system_instruction(f"at {name}", place, extension="pan2" if pan else "", trapped=trapped)
    def act(cpu: Cpu, address: Value) -> None:
        host = hosted(cpu) & (cpu.el == EL2)
        level = const(el, 8) if el != EL1 else select(host, const(EL2, 8), EL1)
        tell(cpu, address, const(kind, 8), level)


_translates("s1e1r", (0, 7, 8, 0), LOAD, EL1)
_translates("s1e1w", (0, 7, 8, 1), STORE, EL1)
_translates("s1e0r", (0, 7, 8, 2), LOAD, EL0)
_translates("s1e0w", (0, 7, 8, 3), STORE, EL0)
_translates("s1e1rp", (0, 7, 9, 0), LOAD, EL1)
_translates("s1e1wp", (0, 7, 9, 1), STORE, EL1)
_translates("s1e2r", (4, 7, 8, 0), LOAD, EL2)
_translates("s1e2w", (4, 7, 8, 1), STORE, EL2)
_translates("s12e1r", (4, 7, 8, 4), LOAD, EL1)
_translates("s12e1w", (4, 7, 8, 5), STORE, EL1)
_translates("s12e0r", (4, 7, 8, 6), LOAD, EL0)
_translates("s12e0w", (4, 7, 8, 7), STORE, EL0)
