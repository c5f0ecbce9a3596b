"""Single instructions: executed one at a time, each shown to `Hooks.examine` first.

A page that is examined is in no fetch TLB, so every jump into it goes through the stub `fetch`, and
other pages cost nothing. There the instruction is decoded into a record of its own, whose bias
makes it stand for the right address, and executed with an empty budget: whether it jumps or not,
`resync` comes next.

=========== ==========================================================================
single      execute only the instruction of the record in hand
h_ended     handler of the record after it: the instruction is complete, and did not jump
=========== ==========================================================================
"""

from __future__ import annotations

from ..ir.value import Value, const
from ..isa.trace import Cpu
from .builder import Builder, state_address
from .decoding_stubs import bytes_in_page, decode_word, mode_of_page, scan
from .emit import RARELY
from .flow import StubLowering
from .layout import PAGE, SINGLE_WORDS, Layout

__all__ = ["describe_single", "end_single", "examine_page", "single_stubs"]

NOWHERE = 1 << 62
"""An offset from which no relative jump stays in the page."""


def describe_single(build: Builder) -> None:
    """Describe the routines before and after an instruction that is executed singly."""
    if build.hooks.examine is None:
        return
    layout, isa = build.layout, build.isa
    assert layout.record * (2 + isa.fetch // isa.granule) <= 8 * SINGLE_WORDS

    @build.routine(returns=64)
    def begin_single(cpu: Cpu) -> Value:
        """Set the budget aside; the address for the instruction's record."""
        cpu.held_budget = cpu.budget
        cpu.poll_at = cpu.poll_at - cpu.budget
        cpu.budget, cpu.single = const(0, 64), const(1, 8)
        address: Value = (state_address("single_records") + layout.record - 1) & -layout.record
        return address

    @build.routine(name="end_single")
    def end(cpu: Cpu) -> None:
        """Restore the budget. There is nothing to sample, as the record belongs to no page."""
        cpu.budget = cpu.budget + cpu.held_budget
        cpu.poll_at = cpu.poll_at + cpu.held_budget
        cpu.single = const(0, 8)
        cpu.spent_record, cpu.spent_by, cpu.spent_pc = const(0, 64), const(0, 64), const(-1, 64)
        cpu.spent_in_region = const(0, 64)


def end_single(g: StubLowering) -> None:
    """Lower what follows an instruction that may have been executed singly."""
    if "examine" not in g.layout.isa.routines:
        return
    alone = g.let(f"icmp ne i8 {g.load_state('single', 'i8')}, 0")
    ended, on = g.fresh("ended"), g.fresh("on")
    g.branch(alone, ended, on, RARELY)
    g.label(ended)
    g.call("rt_end_single", 0, [])
    g.end(f"br label {on}")
    g.label(on)


def examine_page(g: StubLowering, pc: str) -> None:
    """After a fetch from ``pc``: continue with single instructions if its page is examined."""
    if "examine" not in g.layout.isa.routines:
        return
    asked = g.let(f"icmp ne i8 {g.load_state('examine_here', 'i8')}, 0")
    examined, on = g.fresh("examined"), g.fresh("on")
    g.branch(asked, examined, on, RARELY)
    g.label(examined)
    place = g.let(f"shl i64 {g.let(f'and i64 {pc}, {PAGE - 1}')}, {g.shift}")
    record = g.let(f"add i64 {g.load_state('found_records')}, {place}")
    bias = g.let(f"sub i64 {pc}, {g.let(f'lshr i64 {record}, {g.shift}')}")
    g.tail("@single", g.let(f"inttoptr i64 {record} to ptr"), bias)
    g.label(on)


def single_stubs(layout: Layout) -> str:
    """The LLVM text of both stubs; empty if the ISA examines nothing."""
    return _single(layout) + _ended(layout) if "examine" in layout.isa.routines else ""


def _single(layout: Layout) -> str:
    g, isa = StubLowering(layout), layout.isa
    pc = g.here()
    g.store_state("pc", pc)
    g.store_state("budget", "%budget")
    # An instruction that was waiting for the board's answer has been examined already.
    waiting = g.let(f"icmp ne i64 {g.load_state('replay_count')}, 0")
    g.branch(waiting, "%decode", "%examine", RARELY)
    g.label("%examine")
    g.call("rt_examine", 0, [])
    g.check_pending()
    g.end("br label %decode")
    g.label("%decode")
    offset = g.let(f"and i64 {pc}, {PAGE - 1}")
    code, mode = bytes_in_page(g, offset), mode_of_page(g, offset)
    _land(g, code, mode)
    if layout.straddling_key:
        code = _whole(g, pc, offset, code, mode)
    g.store_state("single_code", g.widen(code, "i128", 8 * isa.fetch), "i128")
    g.store_state("single_mode", mode, "i8")
    word, _ = scan(g, code, offset, mode)
    place = g.call("rt_begin_single", 64, [])
    record = g.let(f"inttoptr i64 {place} to ptr")
    for n in range(1, isa.fetch // isa.granule + 1):
        g.put(f"store ptr @h_ended, ptr {g.pointer(record, n * layout.record)}")
    decode_word(g, word, str(NOWHERE), record)
    bias = g.let(f"sub i64 {pc}, {g.let(f'lshr i64 {place}, {g.shift}')}")
    g.dispatch(record, bias, "0")
    return g.define("single")


def _whole(g: StubLowering, pc: str, offset: str, code: str, mode: str) -> str:
    """The bytes of an instruction, of which some may lie in the next page."""
    isa = g.layout.isa
    kind = f"i{8 * isa.fetch}"
    _, length = scan(g, code, offset, mode)
    end = g.let(f"add i64 {offset}, {length}")
    before = g.at
    g.branch(g.let(f"icmp ugt i64 {end}, {PAGE}"), "%straddles", "%fetched", RARELY)
    g.label("%straddles")
    page = g.let(f"and i64 {pc}, {-PAGE}")
    g.call("rt_fill_fetch", 0, [("i64", g.wrapped(g.let(f"add i64 {page}, {PAGE}")))])
    g.check_pending()
    second = g.let(f"inttoptr i64 {g.load_state('found_records')} to ptr")
    rest = g.let(f"load {kind}, ptr {g.pointer(second, -PAGE)}, align 1")
    room = g.let(f"sub i64 {PAGE}, {offset}")
    up = g.resized(g.let(f"shl i64 {room}, 3"), kind)
    both = g.let(f"or {kind} {code}, {g.let(f'shl {kind} {rest}, {up}')}")
    behind = g.at
    g.end("br label %fetched")
    g.label("%fetched")
    return g.let(f"phi {kind} [ {code}, {before} ], [ {both}, {behind} ]")


def _land(g: StubLowering, code: str, mode: str) -> None:
    """Call the hook `Hooks.landed` if an indirect jump has led to the instruction."""
    landing = g.layout.isa.landing
    if landing is None:
        return
    kind = g.load_state(landing.register, "i8")
    g.branch(g.let(f"icmp eq i8 {kind}, 0"), "%landed", "%jumped")
    g.label("%jumped")
    guarded = g.let(f"icmp ne i8 {mode}, {g.load_state('decode_mode', 'i8')}")
    g.branch(guarded, "%guarded", "%plain")
    g.label("%plain")
    g.store_state(landing.register, "0", "i8")
    g.end("br label %landed")
    g.label("%guarded")
    g.call("rt_landed", 0, [("i64", g.widen(code, "i64", 8 * g.layout.isa.fetch))])
    g.check_pending()
    g.end("br label %landed")
    g.label("%landed")


def _ended(layout: Layout) -> str:
    g = StubLowering(layout)
    g.store_state("pc", g.wrapped(g.here()))
    g.store_state("budget", "%budget")
    g.tail("@resync")
    return g.define("h_ended")
