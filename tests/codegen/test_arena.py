"""Memory for decoded pages: when it is used up, all are forgotten, and decoded again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.isa.riscv import rv64
from tests.codegen.hart import Hart, interp
from tests.codegen.programs import CODE

PAGES, LAPS = 5, 50
END_IT = ("lui t0, 0x100", "sd zero, 0(t0)")


@pytest.fixture
def hart() -> Iterator[Hart]:
    """One that jumps from page to page, lap by lap, and counts in a0."""
    with interp() as hart:
        hart.begin(b"")
        for n in range(PAGES):
            at = CODE + 0x1000 * n
            code = ["addi a0, a0, 1", f"jal zero, {at + 0x1000:#x}"]
            if n == PAGES - 1:
                code[1:] = ["addi s1, s1, -1", f"beq s1, zero, {at + 16:#x}"]
                code += [f"jal zero, {CODE:#x}", *END_IT]
            hart.put(at, b"".join(rv64.assemble(t, at + 4 * k) for k, t in enumerate(code)))
        hart.cpu.write_register("s1", LAPS)
        yield hart


@pytest.mark.parametrize("room", range(1, PAGES))
def test_too_little_memory_for_decoded_pages_costs_time_alone(hart: Hart, room: int) -> None:
    state, size = hart.cpu.state, hart.cpu.state.layout.page_bytes
    state.set("arena_end", 0, state.get("arena_start") + room * size)
    hart.finish()
    assert hart.cpu.read_register("a0") == PAGES * LAPS
    assert hart.cpu.counters["code arenas emptied"] >= LAPS


def test_a_page_is_decoded_once_where_there_is_room(hart: Hart) -> None:
    hart.finish()
    assert hart.cpu.read_register("a0") == PAGES * LAPS
    assert hart.cpu.counters["code arenas emptied"] == 0
    assert hart.cpu.counters["pages decoded"] == PAGES
