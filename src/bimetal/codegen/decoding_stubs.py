"""The stubs that decode: from a page's bytes to the record being executed.

=========== ==========================================================================
h_decode    handler of a record that has not been decoded yet
h_cross     handler of the records after a page's last one: continue in the next page
h_straddle  handler of an instruction that straddles the end of a page
redo        a region leaves the current record to the interpreter
=========== ==========================================================================
"""

from __future__ import annotations

from ..ir.value import Block, const, field_of, pure, tracing
from .emit import RARELY, USUALLY
from .flow import StubLowering
from .layout import NEVER, OPERANDS, PAGE, PAGE_EPOCH, PAGE_MODE, PAGE_RUNS, Layout

__all__ = ["bytes_in_page", "decode_word", "decoding_stubs", "mode_of_page", "scan"]


def decoding_stubs(layout: Layout) -> str:
    """The LLVM text of these stubs."""
    return "".join(stub(layout) for stub in (_decode, _redo, _cross, _straddle))


def bytes_in_page(g: StubLowering, offset: str) -> str:
    """The bytes at an offset of the page as a number, with zeros for those beyond its end."""
    fetch = g.layout.isa.fetch
    kind = f"i{8 * fetch}"
    loaded = g.let(f"load {kind}, ptr {g.copied('%rec', offset)}, align 1")
    if not g.layout.straddling_key:
        return loaded
    room = g.let(f"sub i64 {PAGE}, {offset}")
    lacking = g.let(f"call i64 @llvm.usub.sat.i64(i64 {fetch}, i64 {room})")
    down = g.let(f"shl i64 {lacking}, 3")
    return g.let(f"and {kind} {loaded}, {g.let(f'lshr {kind} -1, {g.resized(down, kind)}')}")


def mode_of_page(g: StubLowering, offset: str) -> str:
    """The decode mode of the current record's page; ``offset`` is where its code is in the page."""
    return g.let(f"load i8, ptr {g.header('%rec', offset, PAGE_MODE)}")


def scan(g: StubLowering, code: str, offset: str, mode_there: str = "") -> tuple[str, str]:
    """Lower the ISA's scan of bytes; the operands for the word and for the instruction's length.
    The decode mode is that of the current record's page, unless another one is given.

    Raises ValueError if the scan makes words of another width than the ISA declares.
    """
    isa = g.layout.isa
    several = len(isa.modes) > 1
    raw, mode = field_of("raw", 8 * isa.fetch), field_of("mode", 8) if several else const(0, 8)
    block = Block()
    with tracing(block):
        word, length = isa.scanned(raw, mode)
        length = pure("umin", length, isa.fetch).zext(64)
    if word.width != isa.word_bits:
        raise ValueError(f"the scan of {isa.name} makes words of {word.width} bits")
    g.names[raw] = code
    if several:
        g.names[mode] = mode_there or mode_of_page(g, offset)
    g.block(block)
    return g.operand(word), g.operand(length)


def decode_word(g: StubLowering, word: str, offset: str, record: str = "%rec") -> None:
    """Fill in a record for the instruction at an offset of its page."""
    kind = f"i{g.layout.isa.word_bits}"
    g.put(f"call void @decode(ptr %st, ptr {record}, {kind} {word}, i64 {offset})")


def _decode(layout: Layout) -> str:
    g = StubLowering(layout)
    offset = g.let(f"and i64 {g.here()}, {PAGE - 1}")
    if layout.tells_of_stores:
        _if_current(g, offset)
    word, length = scan(g, bytes_in_page(g, offset), offset)
    if layout.straddling_key:
        end = g.let(f"add i64 {offset}, {length}")
        g.branch(g.let(f"icmp ugt i64 {end}, {PAGE}"), "%straddles", "%whole", RARELY)
        g.label("%straddles")
        g.put("store ptr @h_straddle, ptr %rec")
        g.tail("@h_straddle")
        g.label("%whole")
    decode_word(g, word, offset)
    runs = g.let(f"load i64, ptr {g.header('%rec', offset, PAGE_RUNS)}")
    g.branch(g.let(f"icmp eq i64 {runs}, 0"), "%go", "%run")
    g.label("%run")
    g.put(f"call void @make_run(ptr %st, ptr %rec, i64 {offset}, i64 {length}, i1 true)")
    g.end("br label %go")
    g.label("%go")
    g.dispatch("%rec")
    return g.define("h_decode")


def _if_current(g: StubLowering, offset: str) -> None:
    """Go on only if no other vCPU has stored to the page since it was compared with memory; what
    has not been decoded yet may be what has just been written."""
    epoch = g.let(f"load i64, ptr {g.header('%rec', offset, PAGE_EPOCH)}")
    g.branch(g.let(f"icmp eq i64 {epoch}, {NEVER}"), "%stale", "%current", RARELY)
    g.label("%stale")
    g.store_state("pc", g.here())
    g.store_state("budget", "%budget")
    g.tail("@resync")
    g.label("%current")


def _redo(layout: Layout) -> str:
    """Find the record's own handler, which a region may have replaced."""
    g = StubLowering(layout)
    offset = g.let(f"and i64 {g.here()}, {PAGE - 1}")
    word, _ = scan(g, bytes_in_page(g, offset), offset)
    installed = g.let("load ptr, ptr %rec")
    decode_word(g, word, offset)
    handler = g.let("load ptr, ptr %rec")
    g.put(f"store ptr {installed}, ptr %rec")
    g.tail(handler)
    return g.define("redo")


def _cross(layout: Layout) -> str:
    g = StubLowering(layout)
    pc = g.wrapped(g.here())
    entry, hit = g.lookup(pc)
    g.branch(hit, "%found", "%missed", USUALLY)
    g.label("%missed")
    g.or_guarded(pc, "%found")
    g.store_state("pc", pc)
    g.tail("@fetch")
    g.label("%found")
    g.arrive(pc, entry, "%budget", "%tlb")
    return g.define("h_cross")


def _straddle(layout: Layout) -> str:
    """The rest of the instruction comes from the next page's copy, and is compared each time.

    The page's last record caches the decoded handler together with the bytes it was decoded from.
    """
    if not layout.straddling_key:
        return ""
    g = StubLowering(layout)
    pc = g.here()
    offset = g.let(f"and i64 {pc}, {PAGE - 1}")
    page = g.let(f"and i64 {pc}, {-PAGE}")
    following = g.wrapped(g.let(f"add i64 {page}, {PAGE}"))
    entry, hit = g.lookup(following, guarded=None)
    g.branch(hit, "%found", "%missed", USUALLY)
    g.label("%missed")
    g.store_state("pc", pc)
    g.store_state("budget", "%budget")
    g.call("rt_fill_fetch", 0, [("i64", following)])
    g.check_pending()
    g.tail("@fetch")  # the arena may have been emptied: look this instruction up again
    g.label("%found")
    bias = g.let(f"load i64, ptr {g.pointer(entry, 8)}")
    above = g.let(f"sub i64 {following}, {bias}")
    records = g.let(f"shl i64 {above}, {g.shift}")
    second = g.pointer(g.let(f"inttoptr i64 {records} to ptr"), -PAGE)
    code, key = f"i{8 * layout.isa.fetch}", f"i{layout.straddling_key}"
    room = g.let(f"sub i64 {PAGE}, {offset}")
    up = g.resized(g.let(f"shl i64 {room}, 3"), code)
    rest = g.let(f"shl {code} {g.let(f'load {code}, ptr {second}, align 1')}, {up}")
    raw = g.let(f"or {code} {bytes_in_page(g, offset)}, {rest}")
    last = (layout.records - 1) * layout.record
    down = g.let(f"mul i64 {offset}, {-layout.scale}")
    side = g.pointer(g.pointer("%rec", down), last)
    known = g.let(f"load {key}, ptr {g.pointer(side, OPERANDS)}, align 8")
    split = g.let(f"shl {key} {g.resized(room, key)}, {layout.straddling_key - 8}")
    wanted = g.let(f"or {key} {g.let(f'zext {code} {raw} to {key}')}, {split}")
    g.branch(g.let(f"icmp eq {key} {known}, {wanted}"), "%go", "%decode", USUALLY)
    g.label("%decode")
    word, _ = scan(g, raw, offset)
    decode_word(g, word, offset)
    handler = g.let("load ptr, ptr %rec")
    g.put(f"store ptr {handler}, ptr {side}")
    g.put(f"store {key} {wanted}, ptr {g.pointer(side, OPERANDS)}, align 8")
    g.put("store ptr @h_straddle, ptr %rec")
    g.end("br label %go")
    g.label("%go")
    g.tail(g.let(f"load ptr, ptr {side}"))
    return g.define("h_straddle")
