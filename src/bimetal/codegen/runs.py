"""Runs: the instructions of a basic block as one piece of native code.

A page in which a budget has run out is worth it: all that is decoded there is made part of runs,
and what is decoded later at once. Code that is executed a few times is not: its runs would have to
be fetched from the host's memory as often as they are executed.

A run is a row of stencils (`stencil`), copied one behind the other and filled in from the records
that the decoder has written. The records then have the addresses of their stencils as handlers, so
each instruction can be entered, and regions that are installed later take their places. A run ends
after a jump, so that it holds no code that was never executed, and where a handler has no stencil.

Behind the stencils of a run stands one that goes on at a record, and elsewhere, for each one that
may be left, its way out: it puts the record in hand and goes to its handler.

========= ================================================================================
make_runs make runs of all that is decoded of a page
make_run  make a run that begins with a decoded record
fill_in   copy one stencil and fill its holes
========= ================================================================================
"""

from __future__ import annotations

from .decoding_stubs import bytes_in_page, decode_word, scan
from .description import (
    CHUNK,
    ENDS,
    HOLE_COUNT,
    HOLES,
    LEAVES,
    MARK,
    constants_text,
    description,
)
from .emit import RARELY, USUALLY
from .flow import StubLowering
from .hole import (
    AT,
    BASE,
    COLD_BASE,
    CONSTANTS_BASE,
    DOWN,
    HANDLER_BASE,
    HOLE_BYTES,
    RECORD_BASE,
    SCALE,
    SHIFT,
    SIGNED,
    SIZE,
    SLOT,
    Stencil,
    Stencils,
)
from .layout import PAGE, PAGE_RUNS, Layout
from .stencil import GO_ON, WAY_OUT

__all__ = ["runs_text"]

MOST = 64
"""Instructions of the longest run."""

ROOM = 32 << 10
"""Bytes that the longest run may take, with its ways out."""


def runs_text(layout: Layout, stencils: Stencils) -> str:
    """The LLVM text of `make_run` and what it needs."""
    go_on, way_out = (stencils.by_symbol[symbol] for symbol in (GO_ON, WAY_OUT))
    texts = [constants_text(stencils.constants)]
    texts += [_fill_in(layout), _make_run(layout, _size(go_on), _size(way_out)), _make_runs(layout)]
    texts += [description(f"@{GO_ON}", go_on, ends=True)]
    texts += [description(f"@{WAY_OUT}", way_out, ends=True)]
    return "".join(texts)


def _size(stencil: Stencil) -> int:
    return -(-len(stencil.code) // CHUNK) * CHUNK


def _fill_in(layout: Layout) -> str:
    g = StubLowering(layout)
    size = g.let("load i32, ptr %what")
    count = g.let(f"load i32, ptr {g.pointer('%what', HOLE_COUNT)}")
    number = g.let(f"zext i32 {count} to i64")
    first = g.pointer("%what", HOLES)
    code = g.pointer(first, g.let(f"mul i64 {number}, {HOLE_BYTES}"))
    total = g.let(f"zext i32 {size} to i64")
    g.end("br label %copy")
    g.label("%copy")
    g.put("%done = phi i64 [ 0, %entry ], [ %more, %copy ]")
    chunk = g.let(f"load i128, ptr {g.pointer(code, '%done')}, align {CHUNK}")
    g.put(f"store i128 {chunk}, ptr {g.pointer('%to', '%done')}, align 1")
    g.put(f"%more = add i64 %done, {CHUNK}")
    g.branch(g.let(f"icmp ult i64 %more, {total}"), "%copy", "%copied")
    g.label("%copied")
    g.branch(g.let(f"icmp eq i64 {number}, 0"), "%filled", "%hole")
    g.label("%hole")
    g.put("%n = phi i64 [ 0, %copied ], [ %following, %on ]")
    _fill_one(g, first)
    g.label("%on")
    g.put("%following = add i64 %n, 1")
    g.branch(g.let(f"icmp ult i64 %following, {number}"), "%hole", "%filled")
    g.label("%filled")
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    parameters = "ptr %st, ptr %to, ptr %what, i64 %record, i64 %handler, i64 %cold"
    return f"define internal void @fill_in({parameters}) #1 {{\n{body}\n}}\n"


def _fill_one(g: StubLowering, first: str) -> None:
    """Fill hole ``%n`` of those that begin at ``first``, and go on at ``%on``."""
    hole = g.pointer(first, g.let(f"mul i64 %n, {HOLE_BYTES}"))
    addend = g.let(f"load i64, ptr {hole}")
    word = g.let(f"load i64, ptr {g.pointer(hole, 8)}")

    def part(at: int, bits: int) -> str:
        return g.let(f"and i64 {g.let(f'lshr i64 {word}, {at}')}, {(1 << bits) - 1}")

    where = g.pointer("%to", part(AT, 16))
    here = g.let(f"ptrtoint ptr {where} to i64")
    kind, base = part(BASE, 8), "0"
    bases = {
        RECORD_BASE: "%record",
        HANDLER_BASE: "%handler",
        COLD_BASE: g.let(f"sub i64 %cold, {here}"),
        CONSTANTS_BASE: g.let(f"sub i64 {g.load_state('code_constants')}, {here}"),
    }
    for number, value in bases.items():
        same = g.let(f"icmp eq i64 {kind}, {number}")
        base = g.let(f"select i1 {same}, i64 {value}, i64 {base}")
    place = g.let(f"add i64 %record, {part(SLOT, 8)}")
    raw = g.let(f"load i64, ptr {g.let(f'inttoptr i64 {place} to ptr')}, align 1")
    down = part(DOWN, 6)
    up = g.let(f"shl i64 {raw}, {down}")
    plain, extended = g.let(f"lshr i64 {up}, {down}"), g.let(f"ashr i64 {up}, {down}")
    is_signed = g.let(f"icmp ne i64 {part(SIGNED, 1)}, 0")
    field = g.let(f"select i1 {is_signed}, i64 {extended}, i64 {plain}")
    scaled = g.let(f"mul i64 {field}, {part(SCALE, 7)}")
    total = g.let(f"add i64 {g.let(f'add i64 {base}, {addend}')}, {scaled}")
    value = g.let(f"lshr i64 {total}, {part(SHIFT, 6)}")
    arms = " ".join(f"i64 {size}, label %store{size}" for size in (1, 4))
    g.end(f"switch i64 {part(SIZE, 8)}, label %store8 [ {arms} ]")
    for size in (1, 4, 8):
        g.label(f"%store{size}")
        narrow = g.narrow(value, "i64", 8 * size)
        g.put(f"store i{8 * size} {narrow}, ptr {where}, align 1")
        g.end("br label %on")


def _make_run(layout: Layout, go_on: int, way_out: int) -> str:
    g = StubLowering(layout)
    begin, limit = g.load_state("code_next"), g.load_state("code_end")
    g.branch(g.let(f"icmp eq i64 {begin}, 0"), "%none", "%used", RARELY)
    g.label("%used")
    room = g.let(f"sub i64 {limit}, {begin}")
    g.branch(g.let(f"icmp ugt i64 {room}, {ROOM}"), "%make", "%full", USUALLY)
    g.label("%full")  # until all code is forgotten, when the next page is decoded
    g.store_state("code_full", "1", "i32")
    g.end("br label %none")
    g.label("%none")
    g.end("ret void")
    g.label("%make")
    for line in (
        "%record = phi ptr [ %first, %used ], [ %rec, %decoded ]",
        "%offset = phi i64 [ %start, %used ], [ %at, %decoded ]",
        "%length = phi i64 [ %bytes, %used ], [ %long, %decoded ]",
        f"%place = phi i64 [ {begin}, %used ], [ %behind, %decoded ]",
        f"%cold = phi i64 [ {limit}, %used ], [ %colder, %decoded ]",
        "%made = phi i64 [ 0, %used ], [ %count, %decoded ]",
    ):
        g.put(line)
    handler = g.let("load ptr, ptr %record")
    what = g.let(f"load ptr, ptr {g.pointer(handler, -8)}")
    size = g.let(f"zext i32 {g.let(f'load i32, ptr {what}')} to i64")
    g.branch(g.let(f"icmp eq i64 {size}, 0"), "%lacking", "%there", RARELY)
    g.label("%lacking")
    g.end("br label %finish")
    g.label("%there")
    _copy_one(g, handler, what, way_out)
    g.put(f"%behind = add i64 %place, {size}")
    g.put("%count = add i64 %made, 1")
    step = g.let(f"mul i64 %length, {layout.scale}")
    g.put(f"%rec = getelementptr i8, ptr %record, i64 {step}")
    g.put("%at = add i64 %offset, %length")
    _look_at_next(g, what)
    g.label("%finish")
    g.put("%last = phi ptr [ %record, %lacking ], [ %rec, %ended ]")
    g.put("%end = phi i64 [ %place, %lacking ], [ %behind, %ended ]")
    g.put("%coldest = phi i64 [ %cold, %lacking ], [ %colder, %ended ]")
    g.branch(g.let(f"icmp eq i64 %end, {begin}"), "%none", "%some", RARELY)
    g.label("%some")
    last = g.let("ptrtoint ptr %last to i64")
    _fill(g, "%end", f"@{GO_ON}.stencil", last, "0", "0")
    after = g.let(f"add i64 %end, {go_on + CHUNK - 1}")
    g.store_state("code_next", g.let(f"and i64 {after}, {-CHUNK}"))
    g.store_state("code_end", "%coldest")
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    head = "define void @make_run(ptr %st, ptr %first, i64 %start, i64 %bytes, i1 %ahead)"
    return f"{head} #1 {{\n{body}\n}}\n"


def _copy_one(g: StubLowering, handler: str, what: str, way_out: int) -> None:
    """Make the stencil of ``%record`` at ``%place``, and its way out before ``%cold``."""
    leaves = g.let(f"zext i32 {g.let(f'load i32, ptr {g.pointer(what, LEAVES)}')} to i64")
    taken = g.let(f"mul i64 {leaves}, {way_out}")
    g.put(f"%colder = sub i64 %cold, {taken}")
    record = g.let("ptrtoint ptr %record to i64")
    own = g.let(f"ptrtoint ptr {handler} to i64")
    _fill(g, "%place", what, record, own, "%colder")
    g.branch(g.let(f"icmp eq i64 {leaves}, 0"), "%stays", "%leaves")
    g.label("%leaves")
    _fill(g, "%colder", f"@{WAY_OUT}.stencil", record, own, "0")
    g.end("br label %stays")
    g.label("%stays")
    g.put("store i64 %place, ptr %record")


def _fill(g: StubLowering, to: str, what: str, record: str, handler: str, cold: str) -> None:
    place = g.let(f"inttoptr i64 {to} to ptr")
    arguments = f"ptr %st, ptr {place}, ptr {what}, i64 {record}, i64 {handler}, i64 {cold}"
    g.put(f"call void @fill_in({arguments})")


def _look_at_next(g: StubLowering, what: str) -> None:
    """Go on with ``%rec``, which is at ``%at``, at ``%make``, or to ``%finish`` if the run ends.
    With ``%ahead`` it is decoded if it is not."""
    ends = g.let(f"load i32, ptr {g.pointer(what, ENDS)}")
    goes_on = g.let(f"icmp eq i32 {ends}, 0")
    short = g.let(f"icmp ult i64 %count, {MOST}")
    within = g.let(f"icmp ult i64 %at, {PAGE}")
    g.branch(g.let(f"and i1 {g.let(f'and i1 {goes_on}, {short}')}, {within}"), "%look", "%ended")
    g.label("%look")
    word, long = scan(g, bytes_in_page(g, "%at"), "%at")
    g.put(f"%long = add i64 {long}, 0")
    if g.layout.straddling_key:
        end = g.let("add i64 %at, %long")
        g.branch(g.let(f"icmp ugt i64 {end}, {PAGE}"), "%ended", "%whole", RARELY)
        g.label("%whole")
    handler = g.let("load ptr, ptr %rec")
    g.branch(g.let(f"icmp eq ptr {handler}, @h_decode"), "%blank", "%known")
    g.label("%blank")
    g.branch("%ahead", "%decode", "%ended")
    g.label("%decode")
    decode_word(g, word, "%at")
    g.end("br label %decoded")
    g.label("%known")
    g.branch(_is_handler(g, handler), "%decoded", "%ended")
    g.label("%decoded")
    g.end("br label %make")
    g.label("%ended")
    g.end("br label %finish")


def _is_handler(g: StubLowering, address: str) -> str:
    """Whether a record's native code is a handler: not a run, a region or a stub."""
    # Behind the bytes in front of a run are a guest's numbers.
    away = g.let(f"sub i64 {g.let(f'ptrtoint ptr {address} to i64')}, {g.load_state('code_start')}")
    size = g.let(f"sub i64 {g.load_state('code_limit')}, {g.load_state('code_start')}")
    elsewhere = g.let(f"icmp uge i64 {away}, {size}")
    look, seen, before = g.fresh("look"), g.fresh("seen"), g.at
    g.branch(elsewhere, look, seen)
    g.label(look)
    mark = g.let(f"load i64, ptr {g.pointer(address, -16)}")
    marked = g.let(f"icmp eq i64 {mark}, {MARK}")
    g.end(f"br label {seen}")
    g.label(seen)
    return g.let(f"phi i1 [ false, {before} ], [ {marked}, {look} ]")


def _make_runs(layout: Layout) -> str:
    g = StubLowering(layout)
    granule = layout.isa.granule
    start, arena = g.load_state("code_start"), g.load_state("arena_start")
    g.branch(g.let(f"icmp eq i64 {start}, 0"), "%nothing", "%inside", RARELY)
    g.label("%inside")  # and no record of an instruction that is executed singly
    place = g.let(f"sub i64 {g.let('ptrtoint ptr %some to i64')}, {arena}")
    size = g.let(f"sub i64 {g.load_state('arena_next')}, {arena}")
    g.branch(g.let(f"icmp ult i64 {place}, {size}"), "%ask", "%nothing", USUALLY)
    g.label("%ask")
    flag = g.header("%some", "%offset", PAGE_RUNS)
    g.branch(g.let(f"icmp eq i64 {g.let(f'load i64, ptr {flag}')}, 0"), "%begin", "%nothing")
    g.label("%begin")
    g.put(f"store i64 1, ptr {flag}")
    down = g.let(f"mul i64 %offset, {-layout.scale}")
    g.put(f"%records = getelementptr i8, ptr %some, i64 {down}")
    g.end("br label %each")
    g.label("%each")
    g.put("%at = phi i64 [ 0, %begin ], [ %following, %on ]")
    g.put(f"%rec = getelementptr i8, ptr %records, i64 {g.let(f'mul i64 %at, {layout.scale}')}")
    handler = g.let("load ptr, ptr %rec")
    g.branch(_is_handler(g, handler), "%make", "%on")
    g.label("%make")
    _, length = scan(g, bytes_in_page(g, "%at"), "%at")
    g.put(f"call void @make_run(ptr %st, ptr %rec, i64 %at, i64 {length}, i1 false)")
    g.end("br label %on")
    g.label("%on")
    g.put(f"%following = add i64 %at, {granule}")
    g.branch(g.let(f"icmp ult i64 %following, {PAGE}"), "%each", "%nothing")
    g.label("%nothing")
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    return f"define void @make_runs(ptr %st, ptr %some, i64 %offset) #1 {{\n{body}\n}}\n"
