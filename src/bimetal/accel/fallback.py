"""Instructions that native code leaves to Python: register operations that no host supports."""

from __future__ import annotations

import mmap
from collections.abc import Callable

from ..codegen.builder import TRAPPED
from ..codegen.layout import OPERANDS, PAGE, PAGE_COPY, PAGE_MODE, PAGE_RECORDS
from ..ir.access import Access
from ..ir.evaluate import Trap
from ..ir.softfloat import Environment
from ..isa.describe import Isa
from .single import evaluate_insn
from .vcpu_state import VcpuState

__all__ = ["execute_in_python", "word_of"]


class _NoMemory:
    """Refuses all accesses: only register operations are left to Python."""

    def load(self, address: int, access: Access) -> int:
        raise NotImplementedError(f"a load from {address:#x} by the reference")

    def store(self, address: int, value: int, access: Access) -> None:
        raise NotImplementedError(f"a store to {address:#x} by the reference")

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        raise NotImplementedError(f"an atomic access to {address:#x} by the reference")


_NO_MEMORY = _NoMemory()


def execute_in_python(isa: Isa, word: int, state: VcpuState, floating: Environment) -> bool:
    """Execute the instruction ``word`` at ``pc``; False if it traps, which is then in the state.

    ``floating`` accumulates the flags that it raises."""
    decoded = isa.decode(word)
    assert decoded is not None
    try:
        pc = evaluate_insn(decoded, state, _NO_MEMORY, state.get("pc"), floating)
    except Trap as trap:
        state.set("pending", 0, TRAPPED)
        state.set("trap_cause", 0, trap.cause)
        state.set("trap_value", 0, trap.value)
        return False
    state.set("pc", 0, pc)
    state.set("budget", 0, (state.get("budget") - 1) & (1 << 64) - 1)
    return True


def word_of(state: VcpuState, arena: mmap.mmap, record: int) -> int:
    """The instruction word from which a record was decoded: one in the ``arena``, or the record of
    a single instruction."""
    layout = state.layout
    if not 0 <= record - state.get("arena_start") < len(arena):
        word, _ = layout.isa.word_of(state.get("single_code"), state.get("single_mode"))
        return word
    page, rest = divmod(record - state.get("arena_start"), layout.page_bytes)
    offset, isa = (rest - PAGE_RECORDS) // layout.scale, layout.isa
    start = page * layout.page_bytes
    at = start + PAGE_COPY + offset
    code, mode = arena[at : start + PAGE_COPY + PAGE][: isa.fetch], arena[start + PAGE_MODE]
    word, length = isa.word_of(int.from_bytes(code, "little"), mode)
    if length > len(code):  # it straddles the end of the page
        side = start + PAGE_RECORDS + (layout.records - 1) * layout.record + OPERANDS
        word, _ = isa.word_of(int.from_bytes(arena[side : side + isa.fetch], "little"), mode)
    return word
