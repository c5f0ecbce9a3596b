"""Evaluation: traces executed in pure Python, operation by operation.

This is the slow, living definition of what a trace means; native code has to agree with it. What
a trace acts on (registers, memory, the engine) is a `Machine`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from . import effects
from .access import Access
from .compound import Compound
from .extended import Extended
from .floating import COMPARISONS, floating
from .ops import OPS, Result, signed
from .soft_extended import evaluate_extended
from .softfloat import FORMATS, Environment
from .value import Block, Value
from .vector import Element, Insert, Lanes, Reduce, Shuffle, Splat, Table, join, split

__all__ = ["Frame", "Machine", "Trap", "call", "evaluate"]


class Trap(Exception):
    """The guest raised an exception: a trap of the ISA, with its cause and value."""

    def __init__(self, cause: int, value: int):
        super().__init__(f"cause {cause}, value {value:#x}")
        self.cause, self.value = cause, value


class Machine(Protocol):
    """What a trace acts on. Values are unsigned integers of the stated widths."""

    pc: int
    environment: Environment

    def get(self, file: str, index: int) -> int:
        """Register ``index`` of a file."""

    def set(self, file: str, index: int, value: int) -> None:
        """Write a register; a write to the zero register of its file is lost."""

    def load(self, address: int, access: Access) -> int:
        """Load from memory, or raise `Trap`."""

    def store(self, address: int, value: int, access: Access) -> None:
        """Store to memory, or raise `Trap`."""

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        """Apply ``change`` to a word of memory atomically; the old value."""

    def host(self, name: str, args: Sequence[int]) -> int:
        """Ask the engine: "ticks", "instret", "is_ram", "flush" and so on."""

    def leave(self, reason: str, args: Sequence[int]) -> None:
        """Leave for a reason (`requests`); may raise an exception that stops the instruction."""

    def sync(self) -> None:
        """Mode, translation or interrupt enables may have changed."""


_UPDATES: dict[str, Callable[[int, int, int], int]] = {
    "xchg": lambda w, old, new: new,
    "add": lambda w, old, new: old + new,
    "sub": lambda w, old, new: old - new,
    "and": lambda w, old, new: old & new,
    "or": lambda w, old, new: old | new,
    "xor": lambda w, old, new: old ^ new,
    "min": lambda w, old, new: min(old, new, key=lambda v: signed(v, w)),
    "max": lambda w, old, new: max(old, new, key=lambda v: signed(v, w)),
    "umin": lambda w, old, new: min(old, new),
    "umax": lambda w, old, new: max(old, new),
}

_SHIFTS = ("shl", "lsr", "asr")


class Frame:
    """One execution of a trace: its fields (or parameters), values and variables."""

    def __init__(self, fields: Mapping[str, int], machine: Machine):
        self.fields, self.machine = fields, machine
        self.values: dict[Value, int] = {}
        self.target: int | None = None
        self.landing = 0
        self.result = 0

    def operand(self, value: Value) -> int:
        """The number that a value has in this execution."""
        if value.op == "const":
            return int(value)
        if value.op == "field":
            return self.fields[str(value.attr)]
        return self.values[value]

    def run(self, block: Block) -> bool:
        """Execute a block; whether it ended the instruction or the routine."""
        for value in block:
            match value:
                case effects.If(condition=condition, branches=branches):
                    holds = self.operand(condition)
                    if self.run(branches.then if holds else branches.otherwise):
                        return True
                case effects.Return(args=args):
                    self.result = self.operand(args[0]) if args else 0
                    return True
                case effects.Jump(target=target, landing=landing):
                    self.target, self.landing = self.operand(target), landing
                    return True
                case _:
                    number = self._one(value, [self.operand(arg) for arg in value.args])
                    if number is not None:
                        self.values[value] = number & ((1 << value.width) - 1)
        return False

    def _one(self, value: Value, operands: list[int]) -> int | None:
        rule = OPS.get(value.op)
        if rule is not None:
            if value.op in _SHIFTS and operands[1] >= value.width:
                raise ValueError(f"{value.op} of {value.width} bits by {operands[1]}")
            return rule.evaluate(value.args[0].width, *operands)
        if isinstance(value, effects.FloatOperation):
            return self._floating(value, operands)
        handler = _HANDLERS.get(value.op)
        if handler is None:
            raise NotImplementedError(f"{value.op} belongs to the engine's own routines")
        return handler(self, value, *operands)

    # -- values and variables
    def op_select(self, value: Value, condition: int, a: int, b: int) -> int:
        return a if condition else b

    def op_local(self, value: effects.Local, initial: int) -> None:
        self.values[value] = initial

    def op_local_get(self, value: effects.LocalGet, content: int) -> int:
        return content

    def op_local_set(self, value: effects.LocalSet, content: int, new: int) -> None:
        self.values[value.local] = new

    # -- registers and control
    def op_get(self, value: effects.Get, index: int) -> int:
        return self.machine.get(value.file, index)

    def op_set(self, value: effects.Set, index: int, new: int) -> None:
        self.machine.set(value.file, index, new)

    def op_pc(self, value: effects.Pc) -> int:
        return self.machine.pc

    def op_trap(self, value: effects.Trap, cause: int, number: int) -> None:
        raise Trap(cause, number)

    def op_call(self, value: effects.RoutineCall, *args: int) -> int:
        return call(value.routine, self.machine, *args)

    def op_hcall(self, value: effects.HostCall, *args: int) -> int:
        return self.machine.host(value.question, args)

    def op_leave(self, value: effects.Leave, *args: int) -> None:
        self.machine.leave(value.reason, args)

    def op_sync(self, value: effects.Sync) -> None:
        self.machine.sync()

    # -- memory
    def op_load(self, value: effects.Load, address: int) -> int:
        return self.machine.load(address, value.access)

    def op_store(self, value: effects.Store, address: int, new: int) -> None:
        self.machine.store(address, new, value.access)

    def op_amo(self, value: effects.Amo, address: int, operand: int) -> int:
        access = value.access
        update, width = _UPDATES[value.operation], access.width
        mask = (1 << width) - 1
        return self.machine.update(address, access, lambda old: update(width, old, operand) & mask)

    def op_cas(self, value: effects.Cas, address: int, expected: int, new: int) -> int:
        return self.machine.update(
            address, value.access, lambda old: new if old == expected else old
        )

    def op_fence(self, value: effects.Fence) -> None:
        """Nothing to do: one thread sees its own accesses in order."""

    # -- floating point
    def op_fp_nan(self, value: effects.WithNan, result: int, nan: int) -> int:
        form = FORMATS[value.width]
        return nan if (result & ~form.sign) > form.infinity else result

    def _floating(self, value: effects.FloatOperation, operands: list[int]) -> int:
        """An operation on each lane; a lone comparison is one bit, others give lanes of ones."""
        environment, count = self.machine.environment, value.count
        columns = zip(*(split(number, value.lane, count) for number in operands), strict=True)
        results = [floating(environment, value, row) for row in columns]
        compares = value.op in COMPARISONS and value.to > 1
        return join([-result for result in results] if compares else results, value.to)

    # -- vectors
    def op_lanes(self, value: Lanes, *operands: int) -> int:
        rule = OPS[value.operation]
        columns = zip(*(split(n, value.lane, value.count) for n in operands), strict=True)
        results = [rule.evaluate(value.lane, *row) for row in columns]
        if rule.result is Result.BIT:
            results = [-int(result) for result in results]
        return join(results, value.to)

    def op_splat(self, value: Splat, number: int) -> int:
        return join([number] * (value.width // value.lane), value.lane)

    def op_shuffle(self, value: Shuffle, first: int, second: int) -> int:
        every = split(first, value.lane, value.count) + split(second, value.lane, value.count)
        return join([every[n] for n in value.indices], value.lane)

    def op_element(self, value: Element, vector: int, number: int) -> int:
        return split(vector, value.lane, value.count)[number]

    def op_insert(self, value: Insert, vector: int, number: int, new: int) -> int:
        every = split(vector, value.lane, value.count)
        every[number] = new
        return join(every, value.lane)

    def op_reduce(self, value: Reduce, vector: int) -> int:
        rule, mask = OPS[value.operation], (1 << value.lane) - 1
        return functools.reduce(
            lambda a, b: rule.evaluate(value.lane, a, b) & mask,
            split(vector, value.lane, value.count),
        )

    def op_table(self, value: Table, indices: int, *tables: int) -> int:
        every = [byte for table in tables for byte in split(table, 8, 16)]
        found = split(indices, 8, value.count)
        return join([every[n] if n < len(every) else 0 for n in found], 8)

    def op_compound(self, value: Compound, *operands: int) -> int:
        definition = value.definition
        inner = Frame({}, self.machine)
        inner.values.update(zip(definition.parameters, operands, strict=True))
        inner.run(definition.block)
        return inner.operand(definition.result)

    def op_extended(self, value: Extended, *operands: int) -> int:
        return evaluate_extended(value.operation, *operands)

    def op_fp_flags(self, value: effects.FloatFlags) -> int:
        return self.machine.environment.flags & ((1 << value.width) - 1)

    def op_fp_set_flags(self, value: effects.FloatControl, flags: int) -> None:
        kept = self.machine.environment.flags & -(1 << value.new.width)
        self.machine.environment.flags = kept | flags

    def op_fp_raise(self, value: effects.FloatControl, flags: int) -> None:
        self.machine.environment.flags |= flags

    def op_fp_set_rounding(self, value: effects.FloatControl, mode: int) -> None:
        self.machine.environment.rounding = mode

    def op_fp_set_flushing(self, value: effects.FloatControl, what: int) -> None:
        self.machine.environment.flushing = what


_HANDLERS: dict[str, Callable[..., int | None]] = {
    name.removeprefix("op_"): method
    for name, method in vars(Frame).items()
    if name.startswith("op_")
}


def evaluate(block: Block, fields: Mapping[str, int], machine: Machine) -> tuple[int | None, int]:
    """Execute the trace of an instruction; where it jumps to, or None, and the kind of the jump
    (`effects.Jump`). Raises `Trap`."""
    frame = Frame(fields, machine)
    frame.run(block)
    return frame.target, frame.landing


def call(routine: effects.Callee, machine: Machine, *args: int) -> int:
    """Execute a routine; its result, 0 if it has none."""
    frame = Frame(dict(zip(routine.widths, args, strict=True)), machine)
    frame.run(routine.block())
    return frame.result
