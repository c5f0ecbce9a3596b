"""The stubs of native code, as LLVM text: entering, fetching, polling, trapping.

They do what lies between instructions, so no description says it; everything complicated is in the
routines of `runtime`. All but `enter` and `reach` have the signature of handlers.

=========== ==========================================================================
enter       called from Python: the guest's floating-point environment, then `resync`
resync      look at mode and interrupts again and continue at ``pc``
fetch       continue at ``pc``, whose page is not in the fetch TLB
poll        the budget is spent at the record in hand
pending     the instruction at ``pc`` cannot complete: take its trap, or leave
go_far      a region has jumped to ``pc``, outside its page
go_land     the same by an indirect jump of the kind ``far_landing``
h_undefined an undefined encoding
reach       called by regions: an access has missed the data TLB
=========== ==========================================================================

Those that decode are in `decoding_stubs`, those that execute single instructions in `single`.
"""

from __future__ import annotations

from ..isa.contract import LOAD
from .builder import COUNTERS, TRAPPED
from .decoding_stubs import decoding_stubs
from .delivery import deliver
from .description import description, leading_to
from .emit import RARELY, USUALLY
from .flow import CC, StubLowering
from .host import current
from .layout import PAGE, Layout
from .messages import HEARD, NOT_YET
from .reach import reach_text
from .single import end_single, examine_page, single_stubs

__all__ = ["stubs_text"]

# After how many hints that a vCPU is waiting its processor is yielded; a power of two.
WAITS = 8


def stubs_text(layout: Layout, undefined: str) -> str:
    """The LLVM text of all stubs. ``undefined`` is the body of the handler `h_undefined`."""
    stubs = (_resync, _fetch, _poll, _pending, _go_far, _go_land, _enter)
    parts = [decoding_stubs(layout), single_stubs(layout), *(stub(layout) for stub in stubs)]
    parts += [
        _undefined(layout, undefined),
        _time(layout),
        _random(),
        _relax(layout),
        _shared(layout),
        _lock(),
        reach_text(layout),
        _heard(layout),
        _fence_line(layout),
    ]
    return "".join(parts)


def _resync(layout: Layout) -> str:
    g = StubLowering(layout)
    end_single(g)
    g.end("br label %again")
    g.label("%again")
    budget = g.load_state("budget")
    g.branch(g.let(f"icmp slt i64 {budget}, 0"), "%poll", "%within", RARELY)
    g.label("%poll")
    g.call("rt_poll", 0, [])
    g.check_pending()
    g.end("br label %context")
    g.label("%within")
    g.branch(g.asked_to_attend(), "%attend", "%context", RARELY)
    g.label("%attend")
    g.call("rt_attend", 0, [])
    g.check_pending()
    g.end("br label %context")
    g.label("%context")
    g.call("rt_enter_context", 0, [])
    _settle(g)
    tlb = g.let(f"inttoptr i64 {g.load_state('tlb_base')} to ptr")
    # An instruction that has got the board's answer is completed before an interrupt is taken.
    waiting = g.let(f"icmp ne i64 {g.load_state('replay_count')}, 0")
    g.branch(waiting, "%on", "%interrupts", RARELY)
    g.label("%interrupts")
    cause = g.call("rt_pending_interrupt", 64, [])
    g.branch(g.let(f"icmp eq i64 {cause}, 0"), "%on", "%interrupt", USUALLY)
    g.label("%interrupt")
    handler = deliver(g, cause, "0")
    g.store_state("pc", handler)
    g.end("br label %again")
    g.label("%on")
    pc, budget = g.load_state("pc"), g.load_state("budget")
    entry, hit = g.lookup(pc, tlb)
    g.branch(hit, "%found", "%missed", USUALLY)
    g.label("%missed")
    g.tail("@fetch", "null", "0", budget, tlb)
    g.label("%found")
    if (landing := layout.isa.landing) is not None:
        g.store_state(landing.register, "0", "i8")  # the page is not guarded
    g.arrive(pc, entry, budget, tlb)
    return g.define("resync")


def _fetch(layout: Layout) -> str:
    g = StubLowering(layout)
    g.store_state("budget", "%budget")
    pc = g.load_state("pc")
    g.branch(g.let("icmp slt i64 %budget, 0"), "%spent", "%go", RARELY)
    g.label("%spent")
    g.note_spent("%rec", g.here(), in_region=False)
    g.tail("@resync")
    g.label("%go")
    pc = _settle(g)
    if layout.isa.landing is not None:
        _, hit = g.lookup(pc, guarded=True)
        g.branch(hit, "%there", "%fill")
        g.label("%fill")
    g.call("rt_fill_fetch", 0, [("i64", pc)])
    g.check_pending()
    examine_page(g, pc)
    g.end("br label %there")
    g.label("%there")
    g.branch(g.asked_to_attend(), "%attend", "%on", RARELY)
    g.label("%attend")
    g.tail("@resync")
    g.label("%on")
    g.land(pc)
    entry, _ = g.lookup(pc)
    g.arrive(pc, entry, "%budget", "%tlb")
    return g.define("fetch")


def _settle(g: StubLowering) -> str:
    """The program counter, without what a jump takes out of an address."""
    pc = g.load_state("pc")
    if "jump_address" in g.layout.isa.routines:
        pc = g.call("rt_jump_address", 64, [("i64", pc)])
        g.store_state("pc", pc)
    return pc


def _poll(layout: Layout) -> str:
    g = StubLowering(layout)
    g.store_state("pc", g.here())
    g.store_state("budget", "%budget")
    g.store_state("spent_record", g.let("ptrtoint ptr %rec to i64"))
    g.put(
        f"call void @make_runs(ptr %st, ptr %rec, i64 {g.let(f'and i64 {g.here()}, {PAGE - 1}')})"
    )
    g.tail("@resync")
    return g.define("poll")


def _pending(layout: Layout) -> str:
    g = StubLowering(layout)
    pending = g.load_state("pending")
    g.store_state("pending", "0")
    g.branch(g.let(f"icmp eq i64 {pending}, {TRAPPED}"), "%trap", "%leave")
    g.label("%trap")
    g.store_state("replay_count", "0")
    cause, value = g.load_state("trap_cause"), g.load_state("trap_value")
    traps = g.pointer(g.state_pointer("counter"), 8 * COUNTERS.index("traps"))
    before = g.let(f"load i64, ptr {traps}")
    g.put(f"store i64 {g.let(f'add i64 {before}, 1')}, ptr {traps}")
    handler = deliver(g, cause, value)
    g.store_state("pc", handler)
    # Nothing has retired, but a guest that only traps must come to a poll as well.
    for name in ("budget", "poll_at"):
        g.store_state(name, g.let(f"sub i64 {g.load_state(name)}, 1"))
    g.tail("@resync")
    g.label("%leave")
    end_single(g)
    g.end("ret void")
    return g.define("pending")


def _go_far(layout: Layout) -> str:
    return _leaves_region(layout, "go_far")


def _go_land(layout: Layout) -> str:
    return _leaves_region(layout, "go_land")


def _leaves_region(layout: Layout, name: str) -> str:
    """The stub ``name``, which continues at ``pc``; it stores the kind of an indirect jump unless
    the target is in an unguarded page."""
    g = StubLowering(layout)

    def note() -> None:
        if name == "go_land":
            g.note_landing(g.load_state("far_landing", "i8"))

    g.store_state("budget", "%budget")
    pc, spent = g.load_state("pc"), g.let("icmp slt i64 %budget, 0")
    entry, hit = g.lookup(pc)
    g.branch(hit, "%found", "%missed", USUALLY)
    g.label("%missed")
    if name == "go_far":
        g.or_guarded(pc, "%found")
    g.branch(spent, "%lost", "%fetch", RARELY)
    g.label("%lost")
    note()
    g.note_spent("%rec", g.here(), in_region=True)
    g.tail("@resync")
    g.label("%fetch")
    note()
    g.tail("@fetch")
    g.label("%found")
    rec, pcb = g.found(pc, entry)
    g.branch(spent, "%spent", "%go", RARELY)
    g.label("%spent")
    note()
    g.note_spent("%rec", g.here(), in_region=True)
    g.tail("@poll", rec, pcb)
    g.label("%go")
    g.dispatch(rec, pcb)
    return g.define(name)


def _undefined(layout: Layout, undefined: str) -> str:
    g = StubLowering(layout)
    g.store_state("pc", g.here())
    g.store_state("budget", "%budget")
    g.call(undefined, 0, [])
    g.tail("@pending")
    return g.define("h_undefined", leading_to("@h_undefined")) + description(
        "@h_undefined", None, ends=True
    )


def _enter(layout: Layout) -> str:
    target = current()
    g = StubLowering(layout)
    g.put("%saved = alloca i32")
    g.put("%guest = alloca i32")
    g.put(target.read.format(cell="%saved"))
    g.put(f"store i32 {g.load_state('fp_env', 'i32')}, ptr %guest")
    g.put(target.write.format(cell="%guest"))
    g.put("%x87 = alloca i16")
    g.put("%usual = alloca i16")
    g.put(f"store i16 {target.usual_x87}, ptr %usual")
    g.put(target.enter_x87.format(saved="%x87", usual="%usual"))
    inside = g.state_pointer("inside")
    if layout.shared:  # a vCPU that still reads 0 there has posted before the box is looked into
        g.put(f"atomicrmw xchg ptr {inside}, i64 1 seq_cst")
        g.call("rt_look_into_box", 0, [])
    g.call("rt_poll_timer", 0, [])
    # The board, or the reference, may have found a trap for the instruction in hand.
    trapped = g.let(f"icmp ne i64 {g.load_state('pending')}, 0")
    first = g.let(f"select i1 {trapped}, ptr @pending, ptr @resync")
    g.put(f"call {CC} void {first}(ptr %st, ptr null, i64 0, i64 0, ptr null)")
    g.put(target.read.format(cell="%guest"))
    g.store_state("fp_env", g.let("load i32, ptr %guest"), "i32")
    if layout.shared:
        g.put(f"store atomic i64 0, ptr {inside} release, align 8")
    g.put(target.leave_x87.format(saved="%x87"))
    g.put(target.write.format(cell="%saved"))
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    return f"define void @enter(ptr %st) #1 {{\n{body}\n}}\n"


def _relax(layout: Layout) -> str:
    """``rt_relax``: the guest says that it is waiting for another vCPU, which may need this one's
    processor, because there can be more vCPUs than processors and ticket locks serve their waiters
    in turn. Threads that get the processor may keep it far longer than instructions take, so the
    time is looked at afterwards."""
    g = StubLowering(layout)
    if layout.shared:
        count = g.let(f"add i64 {g.load_state('relaxed')}, 1")
        g.store_state("relaxed", count)
        turn = g.let(f"and i64 {count}, {WAITS - 1}")
        g.branch(g.let(f"icmp eq i64 {turn}, 0"), "%yield", "%go", USUALLY)
        g.label("%yield")
        g.put("call i32 @sched_yield()")
        g.store_state("attend", "1", "i8")
        g.end("br label %go")
        g.label("%go")
    g.end("ret void")
    body = "\n".join(["entry:", *g.lines])
    return f"define internal void @rt_relax(ptr %st) #1 {{\n{body}\n}}\n"


def _shared(layout: Layout) -> str:
    """``rt_shared``: whether other vCPUs access the same memory."""
    answer = int(layout.shared)
    return f"define internal i1 @rt_shared(ptr %st) #1 {{\nret i1 {answer}\n}}\n"


def _lock() -> str:
    """``rt_lock``: take the lock of a box by spinning; it is held for less than a microsecond, or
    for some ten while a vCPU empties TLBs of another one."""
    lines = (
        "entry:",
        "%lock = inttoptr i64 %at to ptr",
        "br label %try",
        "try:",
        "%held = atomicrmw xchg ptr %lock, i64 1 seq_cst",
        "%free = icmp eq i64 %held, 0",
        "br i1 %free, label %taken, label %wait",
        "wait:",
        "call i32 @sched_yield()",
        "br label %try",
        "taken:",
        "ret void",
    )
    body = "\n".join(lines)
    return f"define internal void @rt_lock(ptr %st, i64 %at) #1 {{\n{body}\n}}\n"


def _heard(layout: Layout) -> str:
    """``rt_heard``: wait until all other vCPUs have done what they were told; 0 if only the board
    can bring that about."""
    g = StubLowering(layout)
    if not layout.shared:
        g.end("ret i1 1")
        return "define internal i1 @rt_heard(ptr %st) #1 {\n" + "\n".join(g.lines) + "\n}\n"
    g.end("br label %ask")
    g.label("%ask")
    answer = g.call("rt_heard_from", 8, [("i64", "0")])
    g.end(f"switch i8 {answer}, label %board [i8 {HEARD}, label %all i8 {NOT_YET}, label %wait]")
    g.label("%wait")
    stop = g.let(f"load volatile i8, ptr {g.state_pointer('stop')}")
    g.branch(g.let(f"icmp eq i8 {stop}, 0"), "%more", "%board")
    g.label("%more")
    g.call("rt_look_into_box", 0, [])  # one of them may wait for this vCPU
    g.put("call i32 @sched_yield()")
    g.end("br label %ask")
    g.label("%all")
    g.end("ret i1 1")
    g.label("%board")
    g.end("ret i1 0")
    body = "\n".join(["entry:", *g.lines])
    return f"define internal i1 @rt_heard(ptr %st) #1 {{\n{body}\n}}\n"


def _fence_line(layout: Layout) -> str:
    """``rt_fence_line``: have code in the line at a virtual address decoded afresh, if it has
    changed; 0 if there is no translation."""
    g = StubLowering(layout)
    found = g.call("rt_translate", 64, [("i64", "%va"), ("i8", str(LOAD))])
    pending = g.let(f"icmp ne i64 {g.load_state('pending')}, 0")
    g.branch(pending, "%none", "%there", RARELY)
    g.label("%none")
    g.store_state("pending", "0")
    g.end("ret i1 0")
    g.label("%there")
    page = g.let(f"and i64 {found}, {-PAGE}")
    place = g.let(f"or i64 {page}, {g.let(f'and i64 %va, {PAGE - 1}')}")
    g.call("rt_fence_physical_line", 0, [("i64", place)])
    g.end("ret i1 1")
    body = "\n".join(["entry:", *g.lines])
    return f"define internal i1 @rt_fence_line(ptr %st, i64 %va) #1 {{\n{body}\n}}\n"


def _random() -> str:
    """``rt_random``: 64 random bits from the host's kernel (getrandom(2))."""
    lines = (
        "%bits = alloca i64",
        "call i64 @getrandom(ptr %bits, i64 8, i32 0)",  # never fails for so few bytes
        "%drawn = load i64, ptr %bits",
        "ret i64 %drawn",
    )
    return "define internal i64 @rt_random(ptr %st) #1 {\n" + "\n".join(lines) + "\n}\n"


def _time(layout: Layout) -> str:
    """``rt_time_ns``: the machine's clock in nanoseconds, from the host's CLOCK_MONOTONIC or
    counted in instructions."""
    g = StubLowering(layout)
    g.put("%now = alloca [2 x i64]")
    origin, rate = g.load_state("clock_origin"), g.load_state("clock_rate")
    g.branch(g.let(f"icmp eq i64 {rate}, 0"), "%real", "%counted", USUALLY)
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
