"""The stubs of native code, as LLVM text: entering, decoding, fetching, polling, trapping.

What these do lies between instructions, so no description says it; what takes thought is in the
routines of `runtime`. All but `enter` have the signature of handlers.

=========== ==========================================================================
enter       called from Python: the guest's floating-point environment, then `resync`
resync      look at mode and interrupts again and go on at ``pc``
fetch       go on at ``pc``, whose page is not in the fetch TLB
poll        the budget is spent at the record in hand
pending     the instruction at ``pc`` cannot go on: take its trap, or leave
h_decode    a record that has not been decoded
h_cross     the records behind a page's last: go on in the page that follows
redo        a region leaves the record in hand to the interpreter
go_far      a region has jumped to ``pc``, outside its page
h_straddle  an instruction that lies on both sides of the end of a page
h_undefined an encoding that means nothing
=========== ==========================================================================
"""

from __future__ import annotations

from ..ir.value import Block, field_of, tracing
from .builder import COUNTERS, TRAPPED
from .flow import CC, PARAMETERS, FlowLowering
from .host import current
from .layout import PAGE, Layout

__all__ = ["stubs_text"]

# Times that a vCPU says that it waits before its processor is given to others, a power of two.
WAITS = 8


class _Glue(FlowLowering):
    """Writes one stub."""

    def arrive(self, pc: str, entry: str, budget: str, tlb: str) -> None:
        """Go on at an address whose fetch entry is known."""
        rec, pcb = self.found(pc, entry)
        self.dispatch(rec, pcb, budget, tlb)

    def asked_to_attend(self) -> str:
        """Whether something has taken long."""
        return self.let(f"icmp ne i8 {self.load_state('attend', 'i8')}, 0")

    def define(self, name: str) -> str:
        """The finished function."""
        body = "\n".join(["entry:", *self.allocas, *self.lines])
        return f"define {CC} void @{name}({PARAMETERS}) #2 {{\n{body}\n}}\n"


def stubs_text(layout: Layout, undefined: str) -> str:
    """All stubs. ``undefined`` is the body of the routine for meaningless encodings."""
    stubs = (_resync, _fetch, _poll, _pending, _decode, _redo, _go_far, _cross, _straddle, _enter)
    parts = [stub(layout) for stub in stubs]
    parts += [
        _undefined(layout, undefined),
        _time(layout),
        _random(),
        _relax(layout),
        _shared(layout),
    ]
    return "".join(parts)


def _resync(layout: Layout) -> str:
    g = _Glue(layout)
    g.end("br label %again")
    g.label("%again")
    budget = g.load_state("budget")
    g.branch(g.let(f"icmp slt i64 {budget}, 0"), "%poll", "%within", "!prof !0")
    g.label("%poll")
    g.call("rt_poll", 0, [])
    g.check_pending()
    g.end("br label %context")
    g.label("%within")
    g.branch(g.asked_to_attend(), "%attend", "%context", "!prof !0")
    g.label("%attend")
    g.call("rt_attend", 0, [])
    g.check_pending()
    g.end("br label %context")
    g.label("%context")
    context = g.call("rt_context", 8, [])
    g.call("rt_enter_context", 0, [("i8", context)])
    tlb = g.let(f"inttoptr i64 {g.load_state('tlb_base')} to ptr")
    # An instruction that waits for the board's answer is finished before it is interrupted.
    waiting = g.let(f"icmp ne i64 {g.load_state('replay_count')}, 0")
    g.branch(waiting, "%on", "%interrupts", "!prof !0")
    g.label("%interrupts")
    cause = g.call("rt_pending_interrupt", 64, [])
    g.branch(g.let(f"icmp eq i64 {cause}, 0"), "%on", "%interrupt", "!prof !1")
    g.label("%interrupt")
    handler = g.call("rt_take_trap", 64, [("i64", cause), ("i64", "0")])
    g.store_state("pc", handler)
    g.end("br label %again")
    g.label("%on")
    pc, budget = g.load_state("pc"), g.load_state("budget")
    entry, hit = g.lookup(pc, tlb)
    g.branch(hit, "%found", "%missed", "!prof !1")
    g.label("%missed")
    g.tail("@fetch", "null", "0", budget, tlb)
    g.label("%found")
    g.arrive(pc, entry, budget, tlb)
    return g.define("resync")


def _fetch(layout: Layout) -> str:
    g = _Glue(layout)
    g.store_state("budget", "%budget")
    pc = g.load_state("pc")
    g.call("rt_fill_fetch", 0, [("i64", pc)])
    g.check_pending()
    g.branch(g.let("icmp slt i64 %budget, 0"), "%spent", "%go", "!prof !0")
    g.label("%spent")
    g.note_spent("%rec", g.here(), in_region=False)
    g.tail("@resync")
    g.label("%go")
    g.branch(g.asked_to_attend(), "%attend", "%on", "!prof !0")
    g.label("%attend")
    g.tail("@resync")
    g.label("%on")
    entry, _ = g.lookup(pc)
    g.arrive(pc, entry, "%budget", "%tlb")
    return g.define("fetch")


def _poll(layout: Layout) -> str:
    g = _Glue(layout)
    g.store_state("pc", g.here())
    g.store_state("budget", "%budget")
    g.store_state("spent_record", g.let("ptrtoint ptr %rec to i64"))
    g.tail("@resync")
    return g.define("poll")


def _pending(layout: Layout) -> str:
    g = _Glue(layout)
    pending = g.load_state("pending")
    g.store_state("pending", "0")
    g.branch(g.let(f"icmp eq i64 {pending}, {TRAPPED}"), "%trap", "%leave")
    g.label("%trap")
    g.store_state("replay_count", "0")
    cause, value = g.load_state("trap_cause"), g.load_state("trap_value")
    traps = g.pointer(g.state_pointer("counter"), 8 * COUNTERS.index("traps"))
    before = g.let(f"load i64, ptr {traps}")
    g.put(f"store i64 {g.let(f'add i64 {before}, 1')}, ptr {traps}")
    handler = g.call("rt_take_trap", 64, [("i64", cause), ("i64", value)])
    g.store_state("pc", handler)
    # Nothing retired, but a guest that only traps must come to a poll too.
    for name in ("budget", "poll_at"):
        g.store_state(name, g.let(f"sub i64 {g.load_state(name)}, 1"))
    g.tail("@resync")
    g.label("%leave")
    g.end("ret void")
    return g.define("pending")


def _code_pointer(g: _Glue, offset: str) -> str:
    """Where in the decoded page's copy of the code the byte at ``offset`` stands."""
    # The copy lies before the records, of which a byte of code has `scale` bytes.
    down = g.let(f"mul i64 {offset}, {1 - g.layout.scale}")
    return g.pointer(g.pointer("%rec", down), -PAGE)


def _decode(layout: Layout) -> str:
    g = _Glue(layout)
    isa = layout.isa
    offset = g.let(f"and i64 {g.here()}, {PAGE - 1}")
    code = _code_pointer(g, offset)
    last = g.let(f"icmp ugt i64 {offset}, {PAGE - isa.fetch}")
    g.branch(last, "%end", "%inside", "!prof !0")
    g.label("%end")
    granule = f"i{isa.granule * 8}"
    first = g.let(f"load {granule}, ptr {code}, align 1")
    short = g.widen(first, "i32", isa.granule * 8)
    complete = _complete(g, short)
    g.branch(complete, "%known", "%straddles")
    g.label("%straddles")
    g.put("store ptr @h_straddle, ptr %rec")
    g.tail("@h_straddle")
    g.label("%inside")
    long = g.let(f"load i32, ptr {code}, align 1")
    g.end("br label %known")
    g.label("%known")
    word = g.let(f"phi i32 [ {short}, %end ], [ {long}, %inside ]")
    g.put(f"call void @decode(ptr %rec, i32 {word}, i64 {offset})")
    g.dispatch("%rec")
    return g.define("h_decode")


def _redo(layout: Layout) -> str:
    """Find the record's own handler, which a region may have taken the place of."""
    g = _Glue(layout)
    offset = g.let(f"and i64 {g.here()}, {PAGE - 1}")
    word = g.let(f"load i32, ptr {_code_pointer(g, offset)}, align 1")
    installed = g.let("load ptr, ptr %rec")
    g.put(f"call void @decode(ptr %rec, i32 {word}, i64 {offset})")
    handler = g.let("load ptr, ptr %rec")
    fresh = g.let(f"icmp eq ptr {installed}, @h_decode")
    kept = g.let(f"select i1 {fresh}, ptr {handler}, ptr {installed}")
    g.put(f"store ptr {kept}, ptr %rec")
    g.tail(handler)
    return g.define("redo")


def _go_far(layout: Layout) -> str:
    g = _Glue(layout)
    g.store_state("budget", "%budget")
    pc = g.load_state("pc")
    g.branch(g.let("icmp slt i64 %budget, 0"), "%spent", "%look", "!prof !0")
    g.label("%spent")
    g.note_spent("%rec", g.here(), in_region=True)
    g.tail("@resync")
    g.label("%look")
    entry, hit = g.lookup(pc)
    g.branch(hit, "%found", "%missed", "!prof !1")
    g.label("%missed")
    g.tail("@fetch")
    g.label("%found")
    g.arrive(pc, entry, "%budget", "%tlb")
    return g.define("go_far")


def _complete(g: _Glue, word: str) -> str:
    """Lower the ISA's test of whether a first granule is a whole instruction."""
    first = field_of("first", 32)
    block = Block()
    with tracing(block):
        answer = g.layout.isa.complete(first)
    g.names[first] = word
    g.block(block)
    return g.operand(answer)


def _cross(layout: Layout) -> str:
    g = _Glue(layout)
    pc = g.here()
    entry, hit = g.lookup(pc)
    g.branch(hit, "%found", "%missed", "!prof !1")
    g.label("%missed")
    g.store_state("pc", pc)
    g.tail("@fetch")
    g.label("%found")
    g.arrive(pc, entry, "%budget", "%tlb")
    return g.define("h_cross")


def _straddle(layout: Layout) -> str:
    """The second half comes from the copy of the page that follows, and is looked at each time.

    What was decoded stands in the page's last record, with the whole word beside the handler.
    """
    g = _Glue(layout)
    pc = g.here()
    offset = g.let(f"and i64 {pc}, {PAGE - 1}")
    page = g.let(f"and i64 {pc}, {-PAGE}")
    following = g.let(f"add i64 {page}, {PAGE}")
    entry, hit = g.lookup(following)
    g.branch(hit, "%found", "%missed", "!prof !1")
    g.label("%missed")
    g.store_state("pc", pc)
    g.store_state("budget", "%budget")
    g.call("rt_fill_fetch", 0, [("i64", following)])
    g.check_pending()
    g.tail("@fetch")  # the arena may have been emptied: find this instruction again
    g.label("%found")
    bias = g.let(f"load i64, ptr {g.pointer(entry, 8)}")
    above = g.let(f"sub i64 {following}, {bias}")
    records = g.let(f"shl i64 {above}, {g.shift}")
    second = g.pointer(g.let(f"inttoptr i64 {records} to ptr"), -PAGE)
    low = g.let(f"load i16, ptr {_code_pointer(g, offset)}, align 1")
    high = g.let(f"load i16, ptr {second}, align 1")
    high = g.let(f"shl i32 {g.let(f'zext i16 {high} to i32')}, 16")
    word = g.let(f"or i32 {g.let(f'zext i16 {low} to i32')}, {high}")
    last = (layout.records - 1) * layout.record
    down = g.let(f"mul i64 {offset}, {-layout.scale}")
    side = g.pointer(g.pointer("%rec", down), last)
    known = g.let(f"load i64, ptr {g.pointer(side, 8)}")
    wide = g.let(f"zext i32 {word} to i64")
    g.branch(g.let(f"icmp eq i64 {known}, {wide}"), "%go", "%decode", "!prof !1")
    g.label("%decode")
    g.put(f"call void @decode(ptr %rec, i32 {word}, i64 {offset})")
    handler = g.let("load ptr, ptr %rec")
    g.put(f"store ptr {handler}, ptr {side}")
    g.put(f"store i64 {wide}, ptr {g.pointer(side, 8)}")
    g.put("store ptr @h_straddle, ptr %rec")
    g.end("br label %go")
    g.label("%go")
    g.tail(g.let(f"load ptr, ptr {side}"))
    return g.define("h_straddle")


def _undefined(layout: Layout, undefined: str) -> str:
    g = _Glue(layout)
    g.store_state("pc", g.here())
    g.store_state("budget", "%budget")
    g.call(undefined, 0, [])
    g.tail("@pending")
    return g.define("h_undefined")


def _enter(layout: Layout) -> str:
    target = current()
    g = _Glue(layout)
    g.put("%saved = alloca i32")
    g.put("%guest = alloca i32")
    g.put(target.read.format(cell="%saved"))
    g.put(f"store i32 {g.load_state('fp_env', 'i32')}, ptr %guest")
    g.put(target.write.format(cell="%guest"))
    g.call("rt_poll_timer", 0, [])
    # The board, or the reference, may have found a trap for the instruction in hand.
    trapped = g.let(f"icmp ne i64 {g.load_state('pending')}, 0")
    first = g.let(f"select i1 {trapped}, ptr @pending, ptr @resync")
    g.put(f"call {CC} void {first}(ptr %st, ptr null, i64 0, i64 0, ptr null)")
    g.put(target.read.format(cell="%guest"))
    g.store_state("fp_env", g.let("load i32, ptr %guest"), "i32")
    g.put(target.write.format(cell="%saved"))
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    return f"define void @enter(ptr %st) #1 {{\n{body}\n}}\n"


def _relax(layout: Layout) -> str:
    """A vCPU waits for another one, which may need this one's processor: there can be more vCPUs
    than processors, and ticket locks serve their waiters in turn. The others may keep the processor
    much longer than instructions take."""
    g = _Glue(layout)
    if layout.shared:
        count = g.let(f"add i64 {g.load_state('relaxed')}, 1")
        g.store_state("relaxed", count)
        turn = g.let(f"and i64 {count}, {WAITS - 1}")
        g.branch(g.let(f"icmp eq i64 {turn}, 0"), "%yield", "%go", "!prof !1")
        g.label("%yield")
        g.put("call i32 @sched_yield()")
        g.store_state("attend", "1", "i8")
        g.end("br label %go")
        g.label("%go")
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    return f"define internal void @rt_relax(ptr %st) #1 {{\n{body}\n}}\n"


def _shared(layout: Layout) -> str:
    """Whether other vCPUs work on the same memory."""
    answer = int(layout.shared)
    return f"define internal i1 @rt_shared(ptr %st) #1 {{\nret i1 {answer}\n}}\n"


def _random() -> str:
    """Random bits from the host's kernel, which are what every process of the host is given."""
    lines = (
        "%bits = alloca i64",
        "call i64 @getrandom(ptr %bits, i64 8, i32 0)",  # so few never fail
        "%drawn = load i64, ptr %bits",
        "ret i64 %drawn",
    )
    return "define internal i64 @rt_random(ptr %st) #1 {\n" + "\n".join(lines) + "\n}\n"


def _time(layout: Layout) -> str:
    """The machine's clock: the host's CLOCK_MONOTONIC, or counted in instructions."""
    g = _Glue(layout)
    g.put("%now = alloca [2 x i64]")
    origin, rate = g.load_state("clock_origin"), g.load_state("clock_rate")
    g.branch(g.let(f"icmp eq i64 {rate}, 0"), "%real", "%counted", "!prof !1")
    g.label("%real")
    g.put("call i32 @clock_gettime(i32 1, ptr %now)")
    seconds = g.let("load i64, ptr %now")
    rest = g.let(f"load i64, ptr {g.pointer('%now', 8)}")
    scaled = g.let(f"mul i64 {seconds}, 1000000000")
    total = g.let(f"add i64 {scaled}, {rest}")
    g.end(f"ret i64 {g.let(f'sub i64 {total}, {origin}')}")
    g.label("%counted")
    retired = g.call("rt_instret", 64, [])
    scaled = g.let(f"mul i64 {retired}, {rate}")
    elapsed = g.let(f"lshr i64 {scaled}, 10")
    g.end(f"ret i64 {g.let(f'add i64 {origin}, {elapsed}')}")
    body = "\n".join(["entry:", *g.lines])
    return f"define internal i64 @rt_time_ns(ptr %st) #1 {{\n{body}\n}}\n"
