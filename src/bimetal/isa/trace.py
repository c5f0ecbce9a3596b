"""Tracing: the `cpu` that descriptions act on, and the functions they use besides arithmetic.

A description is called once with symbolic fields. Reads make values; writes, memory accesses,
jumps and traps append operations to the block. `when` opens a conditional block.

What operations there are, `ir.ops` and `ir.effects` say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..ir import effects
from ..ir.access import Access, Order, Space
from ..ir.effects import Branches
from ..ir.requests import ANSWERS, Question, Reason
from ..ir.value import Block, Value, const, fail, field_of, lift, perform, tracing
from .state import File, StateSpec

__all__ = ["Cpu", "Local", "NeedPin", "Routine", "pin", "ret", "slowly", "when"]


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
    perform(effects.If(condition, branches))
    with tracing(branches.then):
        yield _When(branches)


def slowly(condition: Value | bool) -> Any:
    """`when`, for rare cases: if the condition holds, fast code leaves the instruction to its slow
    form."""
    return when(condition, cold=True)


class Local:
    """A variable of the trace, for values that leave a conditional block."""

    def __init__(self, initial: Value):
        self._cell = perform(effects.Local(initial))
        self.width = initial.width

    @property
    def value(self) -> Value:
        """What was set last."""
        return perform(effects.LocalGet(self._cell))

    def set(self, value: Value | int) -> None:
        """Assign."""
        perform(effects.LocalSet(self._cell, lift(value, self.width)))


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
        return perform(effects.Get(self._file.name, self._file.width, index))

    def __setitem__(self, index: Value | int, value: Value | int) -> None:
        index = self._index(index)
        value = lift(value, self._file.width)
        if self._file.zero is not None and index.known and int(index) == self._file.zero:
            return
        perform(effects.Set(self._file.name, index, value))


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
        return perform(effects.Pc(self._state.files["pc"].width))

    @property
    def next_pc(self) -> Value:
        """The address of the instruction that follows in memory."""
        pc = self.pc
        return pc + (self.length if isinstance(self.length, int) else self.length.zext(pc.width))

    def jump(self, target: Value, landing: int = 0) -> None:
        """Continue at ``target`` instead of the next instruction. ``landing`` is the kind of an
        indirect jump, which decides where it may lead (`decoding.Landing`)."""
        perform(effects.Jump(target, landing))

    def trap(self, cause: Value | int, value: Value | int = 0) -> None:
        """Raise an exception: the instruction has no effect beyond what the ISA's trap does."""
        perform(effects.Trap(lift(cause, 64), lift(value, 64)))

    def sync(self) -> None:
        """Mode, translation or interrupt enables may have changed: look at them again before the
        next instruction."""
        perform(effects.Sync())

    def relax(self) -> None:
        """This vCPU is waiting for another one: yield the host's processor to it for a moment."""
        self.host("relax", 0)
        self.sync()

    def leave(self, reason: Reason, *values: Value) -> None:
        """Leave native code before the next instruction."""
        perform(effects.Leave(reason, *values))

    def host(self, question: Question, width: int, *values: Value) -> Value:
        """Ask the engine a `Question`; the answer has ``width`` bits."""
        if ANSWERS.get(question) != width:
            fail(f"the engine answers no {question!r} with {width} bits")
        return perform(effects.HostCall(question, width, *values))

    def local(self, initial: Value) -> Local:
        """A variable that may be assigned inside `when` and read after it."""
        return Local(initial)

    # -- memory
    def load(
        self,
        address: Value,
        width: int,
        aligned: bool = False,
        *,
        order: Order = Order.PLAIN,
        unprivileged: bool = False,
        big_endian: bool = False,
        in_page: bool = False,
    ) -> Value:
        """Load ``width`` bits from a virtual address, see `Access`."""
        access = Access(width, aligned, Space.VIRTUAL, order, unprivileged, big_endian, in_page)
        return perform(effects.Load(address, access))

    def store(
        self,
        address: Value,
        value: Value,
        aligned: bool = False,
        *,
        order: Order = Order.PLAIN,
        unprivileged: bool = False,
        big_endian: bool = False,
        in_page: bool = False,
    ) -> None:
        """Store to a virtual address, see `Access`."""
        access = Access(
            value.width, aligned, Space.VIRTUAL, order, unprivileged, big_endian, in_page
        )
        perform(effects.Store(address, value, access))

    def amo(
        self, operation: str, address: Value, value: Value, *, big_endian: bool = False
    ) -> Value:
        """Atomically replace the word at ``address`` (naturally aligned); the old value."""
        access = Access(
            value.width, True, order=Order.SEQUENTIAL, big_endian=big_endian, reads=True
        )
        return perform(effects.Amo(address, value, access, operation))

    def compare_and_swap(
        self,
        address: Value,
        expected: Value,
        new: Value,
        *,
        big_endian: bool = False,
        reads: bool = True,
    ) -> Value:
        """Atomically store ``new`` if the word at ``address`` is ``expected``; the old value. With
        ``reads`` it counts as a load too, for permissions and watchpoints."""
        access = Access(new.width, True, order=Order.SEQUENTIAL, big_endian=big_endian, reads=reads)
        return perform(effects.Cas(address, expected, new, access))

    def load_physical(self, address: Value, width: int, *, big_endian: bool = False) -> Value:
        """Load from a physical address in memory (page tables); elsewhere the access faults."""
        access = Access(width, True, Space.PHYSICAL, big_endian=big_endian)
        return perform(effects.Load(address, access))

    def store_physical(self, address: Value, value: Value) -> None:
        """Store to a physical address in memory; elsewhere the access faults."""
        access = Access(value.width, True, Space.PHYSICAL)
        perform(effects.Store(address, value, access))

    def cas_physical(
        self, address: Value, expected: Value, new: Value, *, big_endian: bool = False
    ) -> Value:
        """Compare and swap at a physical address in memory; the old value."""
        access = Access(new.width, True, Space.PHYSICAL, Order.SEQUENTIAL, big_endian=big_endian)
        return perform(effects.Cas(address, expected, new, access))

    def load_port(self, port: Value, width: int) -> Value:
        """Read 8, 16 or 32 bits from an I/O port."""
        return perform(effects.Load(port.zext(64), Access(width, space=Space.PORT)))

    def store_port(self, port: Value, value: Value) -> None:
        """Write to an I/O port."""
        perform(effects.Store(port.zext(64), value, Access(value.width, space=Space.PORT)))

    def load_board(self, number: Value | int) -> Value:
        """Read the 64-bit register ``number`` of this vCPU that a device on the board has. Unlike
        with a ``register`` that is left for, the instruction goes on with what it has read."""
        return perform(effects.Load(lift(number, 64), Access(64, space=Space.BOARD)))

    def store_board(self, number: Value | int, value: Value) -> None:
        """Write such a register."""
        perform(effects.Store(lift(number, 64), value, Access(64, space=Space.BOARD)))

    def fence(self, full: bool = True) -> None:
        """Order all earlier memory accesses before all later ones; one that is not ``full`` lets
        later loads pass earlier stores."""
        perform(effects.Fence(full))


class Routine:
    """A piece of description that others call: compiled once, or traced in place by `inline`.

    ``widths`` are the parameters' widths by name; ``returns`` is the result's (0 for none).
    """

    def __init__(
        self,
        body: Callable[..., Value | None],
        state: StateSpec,
        widths: Mapping[str, int],
        returns: int,
        name: str = "",
    ):
        self.name, self.body, self.state = name or body.__name__, body, state
        self.widths, self.returns = dict(widths), returns
        self.__doc__ = body.__doc__
        self._block: Block | None = None

    def __call__(self, cpu: Cpu, *args: Value | int) -> Value:
        values = tuple(
            lift(arg, width) for arg, width in zip(args, self.widths.values(), strict=True)
        )
        return perform(effects.RoutineCall(self, *values))

    def inline(self, cpu: Cpu, *args: Value | int) -> Value:
        """Trace the body where it is called, so that fast code and regions need no call. It must
        not return early."""
        block = Block()
        with tracing(block):
            values = tuple(
                lift(arg, width) for arg, width in zip(args, self.widths.values(), strict=True)
            )
            result = self.body(cpu, *values)
        if _returns(block):
            fail(f"{self.name} returns early, so it cannot be traced in place")
        for value in block:
            perform(value)
        return lift(result, self.returns) if result is not None else const(0, 0)

    def block(self) -> Block:
        """The trace of the body, made at the first use. Other threads see all of it or nothing."""
        if self._block is None:
            block = Block()
            with tracing(block):
                params = [field_of(name, width) for name, width in self.widths.items()]
                result = self.body(Cpu(self.state), *params)
                if result is not None:
                    perform(effects.Return(lift(result, self.returns)))
            self._block = block
        return self._block


def _returns(block: Block) -> bool:
    """Whether a block holds a return, however deep."""
    return any(
        isinstance(value, effects.Return)
        or (isinstance(value, effects.If) and any(map(_returns, value.branches)))
        for value in block
    )


def ret(value: Value | None = None) -> None:
    """Return from a routine early, from inside a `when`."""
    perform(effects.Return(*(() if value is None else (value,))))
