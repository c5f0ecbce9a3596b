"""Tracing: the `cpu` that descriptions act on, and the words they use besides arithmetic.

A description is called once with symbolic fields. Reads make values; writes, memory accesses,
jumps and traps append operations to the block. `when` opens a conditional block.

Operations with an effect, and their ``attr``:

========= ======================================= ==========================================
op        args                                    attr
========= ======================================= ==========================================
field                                             the field's name
get       index                                   the register file's name
set       index, value                            the register file's name
pc                                                the address of the instruction itself
load      address                                 `Access`
store     address, value                          `Access`
amo       address, value                          (`Access`, "add" "xchg" "and" ...)
cas       address, expected, new                  `Access`; the result is the old value
fence
jump      target
trap      cause, value
sync                                              mode, translation or interrupts may differ
leave     values                                  the reason: leave native code
if        condition                               `Branches`
call      values                                  the `Routine`
ret       value or nothing
local     initial value                           a variable of the trace
local_set local, value
hload     host address                            width is the result's; see codegen.builder
hstore    host address, value
hcall     values                                  the name of a host function
========= ======================================= ==========================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..ir.value import Block, Value, const, emit, fail, lift, tracing
from .state import File, StateSpec

__all__ = [
    "Access", "Branches", "Cpu", "Local", "NeedPin", "Routine", "pin", "ret", "slowly", "when",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Access:
    """How memory is accessed: ``width`` in bits; ``aligned`` accesses trap when misaligned.

    ``kind`` is "data" for the usual, "physical" for one without translation.
    """

    width: int
    aligned: bool = False
    kind: str = "data"


@dataclass(slots=True)
class Branches:
    """The two blocks of an ``if``. A cold one is left to the slow form of a handler."""

    then: Block
    otherwise: Block = field(default_factory=Block)
    cold: bool = False


class NeedPin(Exception):
    """A description asked for the value of a field that this trace has not fixed."""

    def __init__(self, name: str, width: int):
        super().__init__(name)
        self.name, self.width = name, width


def pin(value: Value) -> int:
    """The value of an encoding field as a Python integer: one trace is made for each."""
    if value.op == "const":
        return int(value)
    if value.op != "field":
        fail("pin() takes an encoding field")
    raise NeedPin(str(value.attr), value.width)


class _When:
    """What `when` yields: gives access to the other branch."""

    def __init__(self, branches: Branches):
        self._branches = branches

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The block for when the condition does not hold."""
        with tracing(self._branches.otherwise):
            yield


@contextmanager
def when(condition: Value | bool, cold: bool = False) -> Iterator[_When]:
    """Do the block only where ``condition`` (one bit) holds."""
    condition = const(condition, 1) if isinstance(condition, bool) else condition
    if condition.width != 1:
        fail(f"a condition of {condition.width} bits")
    branches = Branches(Block(), cold=cold)
    emit("if", 0, (condition,), branches)
    with tracing(branches.then):
        yield _When(branches)


def slowly(condition: Value | bool) -> Any:
    """`when`, for what happens rarely: fast code hands such an instruction to its slow form."""
    return when(condition, cold=True)


class Local:
    """A variable of the trace, for values that leave a conditional block."""

    def __init__(self, initial: Value):
        self._cell = emit("local", 0, (initial,))
        self.width = initial.width

    @property
    def value(self) -> Value:
        """What was set last."""
        return emit("local_get", self.width, (self._cell,))

    def set(self, value: Value | int) -> None:
        """Assign."""
        emit("local_set", 0, (self._cell, lift(value, self.width)))


class _FileView:
    """``cpu.x[rd]``: one register file, seen by a description."""

    __slots__ = ("_file",)

    def __init__(self, file: File):
        self._file = file

    @property
    def width(self) -> int:
        """Bits of a register."""
        return self._file.width

    def view(self, width: int, merge: bool = False) -> _NarrowView:
        """The low ``width`` bits; a write clears the others or, with ``merge``, leaves them."""
        return _NarrowView(self, width, merge)

    def _index(self, index: Value | int) -> Value:
        width = max(1, (self._file.count - 1).bit_length())
        index = lift(index, width) if not isinstance(index, Value) else index
        if (index.known and int(index) >= self._file.count) or index.width > max(8, width):
            fail(f"{self._file.name}[{index!r}] with {self._file.count} registers")
        return index

    def __getitem__(self, index: Value | int) -> Value:
        index = self._index(index)
        if self._file.zero is not None and index.known and int(index) == self._file.zero:
            return const(0, self._file.width)
        return emit("get", self._file.width, (index,), self._file.name)

    def __setitem__(self, index: Value | int, value: Value | int) -> None:
        index = self._index(index)
        value = lift(value, self._file.width)
        if self._file.zero is not None and index.known and int(index) == self._file.zero:
            return
        emit("set", 0, (index, value), self._file.name)


class _NarrowView:
    """``cpu.r.view(32)[n]``: the low bits of the registers of a file."""

    __slots__ = ("_file", "_merge", "_width")

    def __init__(self, file: _FileView, width: int, merge: bool):
        self._file, self._width, self._merge = file, width, merge

    def __getitem__(self, index: Value | int) -> Value:
        return self._file[index].trunc(self._width)

    def __setitem__(self, index: Value | int, value: Value | int) -> None:
        value = lift(value, self._width)
        if self._merge:
            whole = self._file[index]
            self._file[index] = (whole & -(1 << self._width)) | value.zext(whole.width)
        else:
            self._file[index] = value.zext(self._file.width)


class Cpu:
    """The CPU that a description acts on. Register files and single registers are attributes."""

    _state: StateSpec
    length: int | Value

    def __init__(self, state: StateSpec, length: int | Value = 0):
        object.__setattr__(self, "_state", state)
        object.__setattr__(self, "length", length)

    def __getattr__(self, name: str) -> Any:
        file = self._state.files.get(name)
        if file is None:
            fail(f"the CPU has no register {name!r}")
        view = _FileView(file)
        return view if file.count > 1 else view[0]

    def __setattr__(self, name: str, value: Value | int) -> None:
        file = self._state.files.get(name)
        if file is None or file.count > 1:
            fail(f"the CPU has no single register {name!r} to assign")
        _FileView(file)[0] = value

    # -- control
    @property
    def pc(self) -> Value:
        """The address of the instruction itself."""
        return emit("pc", self._state.files["pc"].width)

    @property
    def next_pc(self) -> Value:
        """The address of the instruction that follows in memory."""
        pc = self.pc
        return pc + (self.length if isinstance(self.length, int) else self.length.zext(pc.width))

    def jump(self, target: Value) -> None:
        """Go on at ``target`` instead of the next instruction."""
        emit("jump", 0, (target,))

    def trap(self, cause: Value | int, value: Value | int = 0) -> None:
        """Raise an exception: the instruction has no effect beyond what the ISA's trap does."""
        emit("trap", 0, (lift(cause, 64), lift(value, 64)))

    def sync(self) -> None:
        """Mode, translation or interrupt enables may have changed: look again before going on."""
        emit("sync")

    def leave(self, reason: str, *values: Value) -> None:
        """Leave native code before the next instruction: ``reason`` is one of `codegen.leave`."""
        emit("leave", 0, values, reason)

    def host(self, name: str, width: int, *values: Value) -> Value:
        """Ask the engine: "time_ns", "instret", "is_ram" (of a physical address), "flush"..."""
        return emit("hcall", width, values, name)

    def local(self, initial: Value) -> Local:
        """A variable that may be assigned inside `when` and read after it."""
        return Local(initial)

    # -- memory
    def load(self, address: Value, width: int, aligned: bool = False) -> Value:
        """Load ``width`` bits from a virtual address."""
        return emit("load", width, (address,), Access(width, aligned))

    def store(self, address: Value, value: Value, aligned: bool = False) -> None:
        """Store to a virtual address."""
        emit("store", 0, (address, value), Access(value.width, aligned))

    def amo(self, operation: str, address: Value, value: Value) -> Value:
        """Atomically replace the word at ``address`` (naturally aligned); the old value."""
        access = Access(value.width, aligned=True)
        return emit("amo", value.width, (address, value), (access, operation))

    def compare_and_swap(self, address: Value, expected: Value, new: Value) -> Value:
        """Atomically store ``new`` if the word at ``address`` is ``expected``; the old value."""
        access = Access(new.width, aligned=True)
        return emit("cas", new.width, (address, expected, new), access)

    def load_physical(self, address: Value, width: int) -> Value:
        """Load from a physical address that must be RAM (page tables); else the access faults."""
        return emit("load", width, (address,), Access(width, True, "physical"))

    def cas_physical(self, address: Value, expected: Value, new: Value) -> Value:
        """Compare and swap at a physical address that must be RAM; the old value."""
        access = Access(new.width, True, "physical")
        return emit("cas", new.width, (address, expected, new), access)

    def fence(self) -> None:
        """Order all earlier memory accesses before all later ones."""
        emit("fence")


class Routine:
    """A piece of description that others call: compiled once, or traced in place when `inline`.

    ``widths`` are the parameters' widths by name; ``returns`` is the result's (0 for none).
    """

    def __init__(
        self,
        body: Callable[..., Value | None],
        state: StateSpec,
        widths: Mapping[str, int],
        returns: int,
    ):
        self.name, self.body, self.state = body.__name__, body, state
        self.widths, self.returns = dict(widths), returns
        self.__doc__ = body.__doc__
        self._block: Block | None = None

    def __call__(self, cpu: Cpu, *args: Value | int) -> Value:
        values = tuple(
            lift(arg, width) for arg, width in zip(args, self.widths.values(), strict=True)
        )
        return emit("call", self.returns, values, self)

    def block(self) -> Block:
        """The trace of the body, made at the first use."""
        if self._block is None:
            self._block = Block()
            with tracing(self._block):
                params = [Value("field", width, (), name) for name, width in self.widths.items()]
                result = self.body(Cpu(self.state), *params)
                if result is not None:
                    emit("ret", 0, (lift(result, self.returns),))
        return self._block


def ret(value: Value | None = None) -> None:
    """Return from a routine early, from inside a `when`."""
    emit("ret", 0, () if value is None else (value,))
