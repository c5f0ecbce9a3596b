"""Lowering: a traced block becomes LLVM text.

`Lowering` writes what all native functions share: arithmetic, registers, conditions, variables,
calls, and memory accesses by calls. Its subclasses say where fields come from, how control leaves,
and which accesses need no call: `routine.RoutineLowering`, `handler.FastLowering`,
`handler.SlowLowering`, `tlb.TlbLowering`.
"""

from __future__ import annotations

from ..ir import effects
from ..ir.access import Access, Space
from ..ir.effects import Effect
from ..ir.ops import OPS
from ..ir.requests import REASONS, Reason
from ..ir.value import Block, Value
from ..isa.contract import LOAD, PART, STORE, UNPRIVILEGED, UPDATE
from .accesses import AccessLowering
from .asking import ASKING
from .builder import (
    LEFT,
    TRAPPED,
    HostAddress,
    HostExchange,
    HostLoad,
    HostStore,
    MemoryCompare,
    MemoryCopy,
    MemoryFill,
)  # fmt: skip
from .emit import RARELY
from .layout import Layout
from .vectors import WHOLE, VectorLowering

__all__ = ["Lowering", "is_static", "routine_symbol"]


def routine_symbol(name: str) -> str:
    """The LLVM name of a routine."""
    return f"rt_{name}"


def is_static(value: Value, memo: dict[Value, bool]) -> bool:
    """Whether a value depends on encoding fields and constants alone."""
    known = memo.get(value)
    if known is None:
        known = value.op in ("const", "field") or (
            (value.op in OPS or value.op == "select")
            and all(is_static(a, memo) for a in value.args)
        )
        memo[value] = known
    return known


class Lowering(AccessLowering, VectorLowering):
    """Writes one function's body from traced operations.

    `op_NAME` lowers the effect called NAME; `names` maps each value that has been lowered to its
    LLVM name.
    """

    def __init__(self, layout: Layout):
        super().__init__()
        self.layout = layout

    # -- the state
    def state_pointer(self, name: str) -> str:
        """Pointer to the first register of a file, or to the TLBs."""
        offset = self.layout.tlb if name == "tlb" else self.layout.offsets[name]
        return self.pointer("%st", offset)

    def load_state(self, name: str, kind: str = "i64") -> str:
        """The value of an engine variable."""
        return self.let(f"load {kind}, ptr {self.state_pointer(name)}")

    def store_state(self, name: str, value: str, kind: str = "i64") -> None:
        """Set an engine variable."""
        self.put(f"store {kind} {value}, ptr {self.state_pointer(name)}")

    def note_landing(self, kind: int | str) -> None:
        """Store the kind of an indirect jump in the ISA's register for it, if it has one."""
        landing = self.layout.isa.landing
        if landing is not None and kind != 0:
            self.store_state(landing.register, str(kind), "i8")

    def note_spent(self, record: str, pc: str, in_region: bool) -> None:
        """Store which jump found the budget spent, for the sample that is taken next."""
        self.store_state("spent_by", self.let(f"ptrtoint ptr {record} to i64"))
        self.store_state("spent_pc", pc)
        self.store_state("spent_in_region", str(int(in_region)))

    def _slot(self, file_name: str, index: Value, writing: bool) -> tuple[str, str, int]:
        """A register's pointer, storage type and width in bits."""
        file = self.layout.spec.files[file_name]
        size = self.layout.slot_bytes(file)
        base = self.state_pointer(file_name)
        if index.known:
            return self.pointer(base, int(index) * size), f"i{size * 8}", file.width
        lost = (file.zero, file.count) if writing and file.zero is not None else None
        at = self.index(index, lost)
        kind = f"i{size * 8}"
        return self.let(f"getelementptr {kind}, ptr {base}, i64 {at}"), kind, file.width

    def index(self, value: Value, lost: tuple[int, int] | None) -> str:
        """A register's number in its file, as i64. If ``lost`` is given, it is the number of the
        zero register and that of the slot which takes writes to it."""
        name = self.operand(value)
        if value.width < 64:
            name = self.let(f"zext i{value.width} {name} to i64")
        if lost is None:
            return name
        zero, slot = lost
        is_zero = self.let(f"icmp eq i64 {name}, {zero}")
        return self.let(f"select i1 {is_zero}, i64 {slot}, i64 {name}")

    # -- operands
    def operand(self, value: Value) -> str:
        if value.op == "const":
            number = int(value)
            if value.width == 1:
                return "true" if number else "false"
            return str(number - (1 << value.width) if number >> (value.width - 1) else number)
        name = self.names.get(value)
        if name is None:
            name = self.names[value] = self.missing(value)
        return name

    def missing(self, value: Value) -> str:
        """The operand for a value that no lowered operation has defined, such as a field."""
        raise KeyError(f"{value!r} was not lowered")

    # -- blocks
    def block(self, block: Block) -> None:
        """Lower the operations in order."""
        for value in block:
            if not self.open:
                break
            self.one(value)

    def one(self, value: Value) -> None:
        """Lower one operation."""
        if isinstance(value, Effect):
            getattr(self, f"op_{value.name}")(value)
        elif isinstance(value, WHOLE):
            getattr(self, f"op_{value.op}")(value)
        elif value.op == "select":
            condition, a, b = (self.operand(arg) for arg in value.args)
            kind = f"i{value.width}"
            self.names[value] = self.let(f"select i1 {condition}, {kind} {a}, {kind} {b}")
        else:
            self.names[value] = self._pure(value)

    def _pure(self, value: Value) -> str:
        rule = OPS[value.op]
        operands = dict(zip("abc", (self.operand(arg) for arg in value.args), strict=False))
        kind = f"i{value.args[0].width}"
        return self.let(rule.llvm.format(t=kind, s=kind, r=f"i{value.width}", **operands))

    def op_get(self, value: effects.Get) -> None:
        pointer, kind, width = self._slot(value.file, value.index, writing=False)
        name = self.let(f"load {kind}, ptr {pointer}")
        self.names[value] = self.narrow(name, kind, width)

    def op_set(self, value: effects.Set) -> None:
        name = self.operand(value.new)
        pointer, kind, width = self._slot(value.file, value.index, writing=True)
        self.put(f"store {kind} {self.widen(name, kind, width)}, ptr {pointer}")

    def op_if(self, value: effects.If) -> None:
        branches = value.branches
        then, otherwise, after = self.fresh("then"), self.fresh("else"), self.fresh("after")
        has_else = bool(branches.otherwise)
        weight = RARELY if branches.cold else ""
        self.branch(self.operand(value.condition), then, otherwise if has_else else after, weight)
        reached = not has_else
        for name, block in ((then, branches.then), (otherwise, branches.otherwise)):
            if name == then or has_else:
                self.label(name)
                self.block(block)
                reached = reached or self.open
                self.end(f"br label {after}")
        if reached:
            self.label(after)
        else:
            self.open = False

    def op_local(self, value: effects.Local) -> None:
        initial = value.initial
        cell = self.fresh("cell")
        self.allocas.append(f"  {cell} = alloca i{initial.width}")
        self.names[value] = cell
        self.put(f"store i{initial.width} {self.operand(initial)}, ptr {cell}")

    def op_local_set(self, value: effects.LocalSet) -> None:
        new = value.new
        self.put(f"store i{new.width} {self.operand(new)}, ptr {self.names[value.local]}")

    def op_local_get(self, value: effects.LocalGet) -> None:
        self.names[value] = self.let(f"load i{value.width}, ptr {self.names[value.local]}")

    def op_fence(self, value: effects.Fence) -> None:
        self.put(f"fence {'seq_cst' if value.full else 'acq_rel'}")

    # -- host memory
    def host_pointer(self, address: Value) -> str:
        """An address in this process as a pointer."""
        return self.let(f"inttoptr i64 {self.operand(address)} to ptr")

    def op_host_load(self, value: HostLoad) -> None:
        pointer = self.host_pointer(value.address)
        self.names[value] = self.let(f"load i{value.width}, ptr {pointer}, align 1")

    def op_host_store(self, value: HostStore) -> None:
        pointer, new = self.host_pointer(value.address), value.new
        self.put(f"store i{new.width} {self.operand(new)}, ptr {pointer}, align 1")

    def op_host_exchange(self, value: HostExchange) -> None:
        new = f"i{value.width} {self.operand(value.new)}"
        pointer = self.host_pointer(value.address)
        self.names[value] = self.let(f"atomicrmw xchg ptr {pointer}, {new} seq_cst")

    def op_host_address(self, value: HostAddress) -> None:
        pointer = self.state_pointer(value.variable)
        self.names[value] = self.let(f"ptrtoint ptr {pointer} to i64")

    def op_memory_fill(self, value: MemoryFill) -> None:
        self.put(
            f"call void @llvm.memset.p0.i64(ptr {self.host_pointer(value.address)}, "
            f"i8 {self.operand(value.byte)}, i64 {self.operand(value.size)}, i1 false)"
        )

    def op_memory_copy(self, value: MemoryCopy) -> None:
        self.put(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {self.host_pointer(value.to)}, "
            f"ptr {self.host_pointer(value.source)}, i64 {self.operand(value.size)}, i1 false)"
        )

    def op_memory_compare(self, value: MemoryCompare) -> None:
        self.names[value] = self.let(
            f"call i32 @memcmp(ptr {self.host_pointer(value.a)}, "
            f"ptr {self.host_pointer(value.b)}, i64 {self.operand(value.size)})"
        )

    # -- guest memory, through calls
    def op_load(self, value: effects.Load) -> None:
        access = value.access
        if access.space is Space.PHYSICAL:
            self.names[value] = self.load_at(self._physical(value.address, access, LOAD), access)
            return
        if access.space in ASKING:
            answer = self._ask(value.address, access, LOAD, "0")
            self.names[value] = self.narrow(answer, "i64", access.width)
            return
        va = self.operand(value.address)
        self._check_alignment(va, access, LOAD)
        name = self._slow_load(va, access)
        self.order_loaded(access)
        self.names[value] = self.in_order(name, access)

    def _check_alignment(self, va: str, access: Access, kind: int) -> None:
        """Check an address whose access has to be aligned, or call the ISA's hook ``unaligned``, if
        it has one. Accesses known to lie within a page (`Access.in_page`) stand for single bytes,
        which are always aligned."""
        if access.aligned:
            self.guest_call("check_aligned", 0, va, access, kind)
        elif "unaligned" in self.layout.isa.routines and access.size > 1 and not access.in_page:
            self.guest_call("check_unaligned", 0, va, access, kind)

    def _ask(self, address: Value, access: Access, kind: int, new: str) -> str:
        """Access what the board alone has."""
        routine = ASKING[access.space]
        return self.guest_call(routine, 64, self.operand(address), access, kind, ("i64", new))

    def _slow_load(self, va: str, access: Access) -> str:
        kind = LOAD | PART * access.piecewise
        if access.width <= 64:
            name = self.guest_call("slow_load", 64, va, access, kind)
            return self.narrow(name, "i64", access.width)
        half = Access(64, unprivileged=access.unprivileged)
        low = self.guest_call("slow_load", 64, va, half, kind)
        high = self.guest_call("slow_load", 64, self.let(f"add i64 {va}, 8"), half, kind)
        wide = self.let(f"shl i128 {self.let(f'zext i64 {high} to i128')}, 64")
        return self.let(f"or i128 {wide}, {self.let(f'zext i64 {low} to i128')}")

    def op_store(self, value: effects.Store) -> None:
        access = value.access
        if access.space is Space.PHYSICAL:
            pointer = self._physical(value.address, access, STORE)
            self.store_at(pointer, self.operand(value.new), access)
            return
        if access.space in ASKING:
            new = self.widen(self.operand(value.new), "i64", access.width)
            self._ask(value.address, access, STORE, new)
            return
        va = self.operand(value.address)
        self._check_alignment(va, access, STORE)
        new = self.in_order(self.operand(value.new), access)
        self.order_before_store(access)
        self._slow_store(va, new, access)
        self.order_stored(access)

    def _slow_store(self, va: str, new: str, access: Access) -> None:
        kind = STORE | PART * access.piecewise
        if access.width <= 64:
            wide = self.widen(new, "i64", access.width)
            self.guest_call("slow_store", 0, va, access, kind, ("i64", wide))
            return
        self.guest_call("check_access", 0, va, access, kind)  # so that not only half is stored
        half = Access(64, unprivileged=access.unprivileged)
        low = self.let(f"trunc i128 {new} to i64")
        high = self.let(f"trunc i128 {self.let(f'lshr i128 {new}, 64')} to i64")
        self.guest_call("slow_store", 0, va, half, kind, ("i64", low))
        up = self.let(f"add i64 {va}, 8")
        self.guest_call("slow_store", 0, up, half, kind, ("i64", high))

    def op_amo(self, value: effects.Amo) -> None:
        self.names[value] = self.amo_at(self._atomic(value.address, value.access), value)

    def op_cas(self, value: effects.Cas) -> None:
        self.names[value] = self.cas_at(self._atomic(value.address, value.access), value)

    def _atomic(self, address: Value, access: Access) -> str:
        """A pointer for an atomic access, which must be to RAM."""
        if access.space is Space.PHYSICAL:
            return self._physical(address, access, STORE)
        kind = STORE | (UPDATE if access.reads else 0)
        found = self.guest_call("atomic_host", 64, self.operand(address), access, kind)
        return self.let(f"inttoptr i64 {found} to ptr")

    def _physical(self, address: Value, access: Access, kind: int) -> str:
        """A pointer to guest-physical memory; without memory there, the access faults."""
        found = self.guest_call("physical_host", 64, self.operand(address), access, kind)
        return self.let(f"inttoptr i64 {found} to ptr")

    def guest_call(
        self,
        name: str,
        returns: int,
        address: str,
        access: Access,
        kind: int,
        *more: tuple[str, str],
    ) -> str:
        """Call a routine of `memory` with address, size and kind of an access."""
        kind |= UNPRIVILEGED if access.unprivileged else 0
        arguments = [("i64", address), ("i64", str(access.size)), ("i8", str(kind)), *more]
        found = self.call(routine_symbol(name), returns, arguments)
        self.check_pending()
        return found

    # -- calls
    def call(self, symbol: str, returns: int, arguments: list[tuple[str, str]]) -> str:
        """Call a routine by symbol with (type, operand) pairs; the result's name."""
        text = ", ".join(["ptr %st", *(f"{kind} {name}" for kind, name in arguments)])
        if not returns:
            self.put(f"call void @{symbol}({text})")
            return ""
        return self.let(f"call i{returns} @{symbol}({text})")

    def op_call(self, value: effects.RoutineCall) -> None:
        self._call(value, value.routine.name)

    def op_hcall(self, value: effects.HostCall) -> None:
        self._call(value, value.question)

    def _call(self, value: Value, name: str) -> None:
        arguments = [(f"i{arg.width}", self.operand(arg)) for arg in value.args]
        self.names[value] = self.call(routine_symbol(name), value.width, arguments)
        self.check_pending()

    def check_pending(self) -> None:
        """After a call: stop the instruction if the call raised a trap or has to leave."""
        pending = self.load_state("pending")
        bad = self.let(f"icmp ne i64 {pending}, 0")
        stop, go = self.fresh("stop"), self.fresh("go")
        self.branch(bad, stop, go, RARELY)
        self.label(stop)
        self.stopped()
        self.label(go)

    def stopped(self) -> None:
        """The instruction cannot complete: `pending` says why."""
        raise NotImplementedError

    def op_trap(self, value: effects.Trap) -> None:
        self.store_state("trap_cause", self.operand(value.cause))
        self.store_state("trap_value", self.operand(value.value))
        self.store_state("pending", str(TRAPPED))
        self.stopped()

    def set_leave(self, reason: Reason, *arguments: str) -> None:
        """Record why native code is left: one of `ir.requests.REASONS`, with its arguments."""
        pointer = self.state_pointer("leave_args")
        for n, argument in enumerate(arguments):
            self.put(f"store i64 {argument}, ptr {self.pointer(pointer, 8 * n)}")
        self.store_state("leave_reason", str(REASONS.index(reason)))
        self.store_state("pending", str(LEFT))

    def op_pc(self, value: effects.Pc) -> None:
        raise NotImplementedError
