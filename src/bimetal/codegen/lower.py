"""Lowering: a traced block becomes LLVM text.

`Lowering` writes what all native functions share: arithmetic, registers, conditions, variables,
floating point, host memory. Its subclasses say what a field is, how guest memory is reached, and
how control leaves: `routine.RoutineLowering`, `handler.FastLowering`, `handler.SlowLowering`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.ops import OPS
from ..ir.value import Block, Value
from ..isa.trace import Access, Branches, Routine
from .builder import LEAVE, LEFT, TRAPPED
from .fplower import FP_OPS, RARELY, USUALLY, FpLowering
from .layout import Layout

__all__ = ["RARELY", "USUALLY", "Lowering", "is_static", "routine_symbol"]

# Read-modify-write operations that keep the old value while it compares so with the operand.
_ORDERS = {"max": "sgt", "min": "slt", "umax": "ugt", "umin": "ult"}


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


class Lowering(FpLowering):
    """Writes one LLVM function's body. `lines` grow; `open` tells whether code can be reached."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.exits: list[str] = []
        self.names: dict[Value, str] = {}
        self.open = True
        self.at = "%entry"
        self._count = 0

    # -- text
    def fresh(self, prefix: str = "v") -> str:
        """A new local name."""
        self._count += 1
        return f"%{prefix}{self._count}"

    def put(self, line: str) -> None:
        """Append an instruction, unless nothing can reach it."""
        if self.open:
            self.lines.append("  " + line)

    def let(self, line: str) -> str:
        """Append an instruction with a result; its name."""
        name = self.fresh()
        self.put(f"{name} = {line}")
        return name

    def label(self, name: str) -> None:
        """Start a basic block."""
        plain = name.removeprefix("%")
        self.lines.append(f"{plain}:")
        self.open, self.at = True, f"%{plain}"

    def end(self, line: str) -> None:
        """Append a terminator."""
        self.put(line)
        self.open = False

    def aside(self, write: Callable[[], None]) -> str:
        """A label whose code, written by ``write``, stands behind the rest of the function."""
        label = self.fresh("exit")
        lines, was_open, at, self.lines = self.lines, self.open, self.at, []
        self.label(label)
        write()
        self.exits += self.lines
        self.lines, self.open, self.at = lines, was_open, at
        return label

    def branch(self, condition: str, then: str, otherwise: str, weight: str = "") -> None:
        """A conditional branch; ``weight`` may be rarely (then is cold) or usually."""
        tail = f", {weight}" if weight else ""
        self.end(f"br i1 {condition}, label {then}, label {otherwise}{tail}")

    # -- addresses in the state
    def pointer(self, base: str, offset: int | str) -> str:
        """``base`` plus a number of bytes."""
        return base if offset == 0 else self.let(f"getelementptr i8, ptr {base}, i64 {offset}")

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

    def note_spent(self, record: str, pc: str, in_region: bool) -> None:
        """Tell the coming sample which jump found that the budget is spent."""
        self.store_state("spent_by", self.let(f"ptrtoint ptr {record} to i64"))
        self.store_state("spent_pc", pc)
        self.store_state("spent_in_region", str(int(in_region)))

    def _slot(self, file_name: str, index: Value, writing: bool) -> tuple[str, str, int]:
        """Pointer, storage type and width of a register."""
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
        """A register's slot as i64; ``lost`` is the zero register and the slot for its writes."""
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
        """The LLVM operand for a value."""
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
        """A value that no lowered operation has made: a field."""
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
        if value.op in OPS:
            self.names[value] = self._pure(value)
        elif value.op == "select":
            condition, a, b = (self.operand(arg) for arg in value.args)
            kind = f"i{value.width}"
            self.names[value] = self.let(f"select i1 {condition}, {kind} {a}, {kind} {b}")
        elif value.op in FP_OPS:
            self.floating(value)
        else:
            getattr(self, f"op_{value.op}")(value)

    def _pure(self, value: Value) -> str:
        rule = OPS[value.op]
        operands = dict(zip("abc", (self.operand(arg) for arg in value.args), strict=False))
        kind = f"i{value.args[0].width}"
        return self.let(rule.llvm.format(t=kind, r=f"i{value.width}", **operands))

    def op_get(self, value: Value) -> None:
        pointer, kind, width = self._slot(str(value.attr), value.args[0], writing=False)
        name = self.let(f"load {kind}, ptr {pointer}")
        self.names[value] = self._narrow(name, kind, width)

    def _narrow(self, name: str, kind: str, width: int) -> str:
        return name if kind == f"i{width}" else self.let(f"trunc {kind} {name} to i{width}")

    def _widen(self, name: str, kind: str, width: int) -> str:
        return name if kind == f"i{width}" else self.let(f"zext i{width} {name} to {kind}")

    def op_set(self, value: Value) -> None:
        index, new = value.args
        name = self.operand(new)
        pointer, kind, width = self._slot(str(value.attr), index, writing=True)
        self.put(f"store {kind} {self._widen(name, kind, width)}, ptr {pointer}")

    def op_if(self, value: Value) -> None:
        branches = value.attr
        assert isinstance(branches, Branches)
        then, otherwise, after = self.fresh("then"), self.fresh("else"), self.fresh("after")
        has_else = bool(branches.otherwise)
        weight = RARELY if branches.cold else ""
        self.branch(self.operand(value.args[0]), then, otherwise if has_else else after, weight)
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

    def op_local(self, value: Value) -> None:
        initial = value.args[0]
        cell = self.fresh("cell")
        self.allocas.append(f"  {cell} = alloca i{initial.width}")
        self.names[value] = cell
        self.put(f"store i{initial.width} {self.operand(initial)}, ptr {cell}")

    def op_local_set(self, value: Value) -> None:
        cell, new = value.args
        self.put(f"store i{new.width} {self.operand(new)}, ptr {self.names[cell]}")

    def op_local_get(self, value: Value) -> None:
        cell = self.names[value.args[0]]
        self.names[value] = self.let(f"load i{value.width}, ptr {cell}")

    def op_fence(self, value: Value) -> None:
        self.put("fence seq_cst")

    # -- host memory
    def host_pointer(self, address: Value) -> str:
        """An address in this process as a pointer."""
        return self.let(f"inttoptr i64 {self.operand(address)} to ptr")

    def op_hload(self, value: Value) -> None:
        pointer = self.host_pointer(value.args[0])
        self.names[value] = self.let(f"load i{value.width}, ptr {pointer}, align 1")

    def op_hstore(self, value: Value) -> None:
        address, new = value.args
        pointer = self.host_pointer(address)
        self.put(f"store i{new.width} {self.operand(new)}, ptr {pointer}, align 1")

    def op_haddr(self, value: Value) -> None:
        pointer = self.state_pointer(str(value.attr))
        self.names[value] = self.let(f"ptrtoint ptr {pointer} to i64")

    def op_memset(self, value: Value) -> None:
        address, byte, size = value.args
        self.put(
            f"call void @llvm.memset.p0.i64(ptr {self.host_pointer(address)}, "
            f"i8 {self.operand(byte)}, i64 {self.operand(size)}, i1 false)"
        )

    def op_memcpy(self, value: Value) -> None:
        to, source, size = value.args
        self.put(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {self.host_pointer(to)}, "
            f"ptr {self.host_pointer(source)}, i64 {self.operand(size)}, i1 false)"
        )

    def op_memcmp(self, value: Value) -> None:
        a, b, size = value.args
        self.names[value] = self.let(
            f"call i32 @memcmp(ptr {self.host_pointer(a)}, ptr {self.host_pointer(b)}, "
            f"i64 {self.operand(size)})"
        )

    # -- physical memory
    def _physical(self, address: Value) -> str:
        found = self.let(f"call i64 @rt_ram_host(ptr %st, i64 {self.operand(address)})")
        return self.let(f"inttoptr i64 {found} to ptr")

    def physical_load(self, value: Value) -> None:
        """A load from RAM that the description has checked to be there."""
        pointer = self._physical(value.args[0])
        self.names[value] = self.let(f"load i{value.width}, ptr {pointer}")

    def physical_cas(self, value: Value) -> None:
        """As `physical_load`, for compare and swap."""
        self.names[value] = self.compare_and_swap(self._physical(value.args[0]), value)

    def compare_and_swap(self, pointer: str, value: Value) -> str:
        """Atomic compare and swap at a host pointer; the old value."""
        _, expected, new = value.args
        kind = f"i{value.width}"
        if not self.layout.shared:
            old = self.let(f"load {kind}, ptr {pointer}")
            equal = self.let(f"icmp eq {kind} {old}, {self.operand(expected)}")
            swap, on = self.fresh("swap"), self.fresh("on")
            self.branch(equal, swap, on)
            self.label(swap)
            self.put(f"store {kind} {self.operand(new)}, ptr {pointer}")
            self.end(f"br label {on}")
            self.label(on)
            return old
        pair = self.let(
            f"cmpxchg ptr {pointer}, {kind} {self.operand(expected)}, "
            f"{kind} {self.operand(new)} seq_cst seq_cst"
        )
        return self.let(f"extractvalue {{ {kind}, i1 }} {pair}, 0")

    @staticmethod
    def amo_of(value: Value) -> tuple[Access, str]:
        """How an atomic update accesses memory, and what it does there."""
        assert isinstance(value.attr, tuple)
        access, operation = value.attr
        assert isinstance(access, Access)
        return access, str(operation)

    def atomic_update(self, pointer: str, value: Value, operation: str) -> str:
        """Atomic read-modify-write at a host pointer; the old value."""
        kind = f"i{value.width}"
        if not self.layout.shared:
            old = self.let(f"load {kind}, ptr {pointer}")
            new = self._updated(operation, kind, old, self.operand(value.args[1]))
            self.put(f"store {kind} {new}, ptr {pointer}")
            return old
        return self.let(
            f"atomicrmw {operation} ptr {pointer}, {kind} {self.operand(value.args[1])} seq_cst"
        )

    def _updated(self, operation: str, kind: str, old: str, operand: str) -> str:
        """What an atomicrmw operation (LLVM Language Reference) leaves in memory."""
        if operation == "xchg":
            return operand
        if operation in _ORDERS:
            keeps = self.let(f"icmp {_ORDERS[operation]} {kind} {old}, {operand}")
            return self.let(f"select i1 {keeps}, {kind} {old}, {kind} {operand}")
        return self.let(f"{operation} {kind} {old}, {operand}")

    # -- calls
    def call(self, symbol: str, returns: int, arguments: list[tuple[str, str]]) -> str:
        """Call a routine by symbol with (type, operand) pairs; the result's name."""
        text = ", ".join(["ptr %st", *(f"{kind} {name}" for kind, name in arguments)])
        if not returns:
            self.put(f"call void @{symbol}({text})")
            return ""
        return self.let(f"call i{returns} @{symbol}({text})")

    def op_call(self, value: Value) -> None:
        routine = value.attr
        assert isinstance(routine, Routine)
        self._call(value, routine.name)

    def op_hcall(self, value: Value) -> None:
        self._call(value, str(value.attr))

    def _call(self, value: Value, name: str) -> None:
        arguments = [(f"i{arg.width}", self.operand(arg)) for arg in value.args]
        self.names[value] = self.call(routine_symbol(name), value.width, arguments)
        self.check_pending()

    def check_pending(self) -> None:
        """After a call: stop here if it raised a trap or has to leave."""
        pending = self.load_state("pending")
        bad = self.let(f"icmp ne i64 {pending}, 0")
        stop, go = self.fresh("stop"), self.fresh("go")
        self.branch(bad, stop, go, RARELY)
        self.label(stop)
        self.stopped()
        self.label(go)

    def stopped(self) -> None:
        """The instruction cannot go on: `pending` says why."""
        raise NotImplementedError

    def op_trap(self, value: Value) -> None:
        cause, detail = value.args
        self.store_state("trap_cause", self.operand(cause))
        self.store_state("trap_value", self.operand(detail))
        self.store_state("pending", str(TRAPPED))
        self.stopped()

    def set_leave(self, value: Value) -> None:
        """Record why native code is left."""
        pointer = self.state_pointer("leave_args")
        for n, arg in enumerate(value.args):
            self.put(f"store i64 {self.operand(arg)}, ptr {self.pointer(pointer, 8 * n)}")
        self.store_state("leave_reason", str(LEAVE.index(str(value.attr))))
        self.store_state("pending", str(LEFT))

    def op_pc(self, value: Value) -> None:
        raise NotImplementedError
