"""What a region consists of: found by following code that has been executed."""

from __future__ import annotations

from bimetal.codegen.discover import Code, discover, heads, places_entered, run_start
from bimetal.codegen.layout import PAGE
from bimetal.isa.riscv import rv64


class Page:
    """Code of four-byte instructions; each line stands at the offset that it is put at."""

    def __init__(self, *parts: tuple[int, list[str]]) -> None:
        code, self.executed = bytearray(PAGE), set[int]()
        for start, lines in parts:
            for offset, line in enumerate(lines):
                at = start + 4 * offset
                code[at : at + 4] = rv64.assemble(line, at)
                self.executed.add(at)
        self.code = bytes(code)

    def was(self, offset: int) -> bool:
        return offset in self.executed


def test_a_call_by_two_instructions_leads_into_the_function() -> None:
    """auipc and jalr, as compilers call what may be far away."""
    page = Page(
        (0x100, ["auipc ra, 0", "jalr ra, 0x100(ra)", "addi a0, a0, 1"]),
        (0x200, ["add a0, a1, a2", "jalr zero, 0(ra)"]),
    )
    steps = discover(Code(rv64, page.code), [0x100], page.was, limit=100)
    assert sorted(steps) == [0x100, 0x104, 0x108, 0x200, 0x204]
    assert steps[0x104].likely == 0x200
    assert steps[0x204].likely is None, "a return may lead anywhere"
    assert {0x108, 0x200} <= set(places_entered(steps)) <= heads(steps, [0x100])


def test_a_register_that_was_set_otherwise_says_nothing() -> None:
    page = Page(
        (0x100, ["auipc ra, 0", "add ra, ra, a0", "jalr ra, 0x100(ra)"]),
        (0x200, ["addi a0, a0, 1"]),
    )
    steps = discover(Code(rv64, page.code), [0x100], page.was, limit=100)
    assert steps[0x108].likely is None
    assert 0x200 not in steps


def test_a_distance_out_of_the_page_is_no_place_in_it() -> None:
    page = Page((0x100, ["auipc ra, 1", "jalr ra, 0(ra)"]))
    steps = discover(Code(rv64, page.code), [0x100], page.was, limit=100)
    assert steps[0x104].targets == []


def test_a_region_goes_on_behind_what_the_interpreter_does() -> None:
    page = Page((0, ["addi a0, a0, 1", "csrrw a1, mscratch, a0", "addi a0, a0, 2"]))
    steps = discover(Code(rv64, page.code), [0], page.was, limit=100)
    assert sorted(steps) == [0, 8]
    assert steps[8].resumes
    assert 8 in places_entered(steps)


def test_code_that_never_ran_is_left_out() -> None:
    page = Page((0, ["beq a0, zero, 16", "addi a0, a0, 1"]))
    steps = discover(Code(rv64, page.code), [0], page.was, limit=100)
    assert sorted(steps) == [0, 4]


def test_after_its_spread_a_region_follows_no_jumps_but_goes_straight_on() -> None:
    lines = ["beq a0, zero, 0x800", *["addi a0, a0, 1"] * 50]
    page = Page((0, lines), (0x800, ["addi a1, a1, 1"]))
    steps = discover(Code(rv64, page.code), [0], page.was, limit=40, spread=10)
    assert sorted(steps) == [4 * n for n in range(40)]


def test_the_code_before_a_jump_begins_behind_the_jump_before_it() -> None:
    page = Page(
        (0, ["jal zero, 8", "jal zero, 4", "addi a0, a0, 1", "addi a0, a0, 1", "jal zero, 0"])
    )
    assert run_start(Code(rv64, page.code), page.was, 16) == 8
    page.executed.discard(8)
    assert run_start(Code(rv64, page.code), page.was, 16) == 12


def test_each_entry_is_followed_whatever_the_spread() -> None:
    page = Page((0, ["addi a0, a0, 1"] * 20), (0x400, ["addi a1, a1, 1"] * 20))
    steps = discover(Code(rv64, page.code), [0, 0x400], page.was, limit=100, spread=10)
    assert len(steps) == 40
