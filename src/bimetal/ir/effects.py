"""Operations with an effect: a class each, with named operands.

A pure operation (`ops`) is a `Value` and nothing else. What reads or writes registers, memory or
the engine, or decides where control goes, is an `Effect`. What each does stands in `facts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol

from msgspec import Struct, field

from .access import Access
from .requests import Question, Reason
from .value import Block, Value

__all__ = [
    "Amo", "Branches", "Callee", "Cas", "Effect", "Fence", "FloatControl", "FloatFlags",
    "FloatOperation", "Get", "HostCall", "If", "Jump", "Leave", "Load", "Local", "LocalGet",
    "LocalSet", "Operand", "Pc", "Return", "RoutineCall", "Set", "Store", "Sync", "Trap", "WithNan",
]  # fmt: skip


class Callee(Protocol):
    """A routine, as far as a call of it needs to know: `isa.trace.Routine` is one."""

    @property
    def name(self) -> str: ...
    @property
    def returns(self) -> int: ...
    @property
    def widths(self) -> Mapping[str, int]: ...
    def block(self) -> Block: ...


class Operand:
    """An operand of an effect under its name."""

    def __init__(self, number: int):
        self._number = number

    def __get__(self, effect: Value, owner: type[Value]) -> Value:
        return effect.args[self._number]


class Effect(Value):
    """Base of all operations with an effect. ``name`` is what listings and lowerings call it."""

    __slots__ = ()
    name: ClassVar[str]

    def __init__(self, width: int = 0, *operands: Value):
        super().__init__(self.name, width, operands)

    def detail(self) -> str:
        """What distinguishes it from others of its class, for people."""
        return ""


# -- registers


class Get(Effect):
    """A register of ``file``, of ``width`` bits."""

    __slots__ = ("file",)
    name = "get"
    index = Operand(0)

    def __init__(self, file: str, width: int, index: Value):
        super().__init__(width, index)
        self.file = file

    def detail(self) -> str:
        return self.file


class Set(Effect):
    """Write a register of ``file``."""

    __slots__ = ("file",)
    name = "set"
    index, new = Operand(0), Operand(1)

    def __init__(self, file: str, index: Value, new: Value):
        super().__init__(0, index, new)
        self.file = file

    def detail(self) -> str:
        return self.file


class Pc(Effect):
    """The address of the instruction itself."""

    __slots__ = ()
    name = "pc"


# -- memory


class Load(Effect):
    """Load from memory."""

    __slots__ = ("access",)
    name = "load"
    address = Operand(0)

    def __init__(self, address: Value, access: Access):
        super().__init__(access.width, address)
        self.access = access

    def detail(self) -> str:
        return str(self.access)


class Store(Effect):
    """Store to memory."""

    __slots__ = ("access",)
    name = "store"
    address, new = Operand(0), Operand(1)

    def __init__(self, address: Value, new: Value, access: Access):
        super().__init__(0, address, new)
        self.access = access

    def detail(self) -> str:
        return str(self.access)


class Amo(Effect):
    """Atomically combine memory with ``operand`` by ``operation``, a name that LLVM's atomicrmw
    has ("add", "xchg", "umax" ...); the value is what was there before."""

    __slots__ = ("access", "operation")
    name = "amo"
    address, operand = Operand(0), Operand(1)

    def __init__(self, address: Value, operand: Value, access: Access, operation: str):
        super().__init__(access.width, address, operand)
        self.access, self.operation = access, operation

    def detail(self) -> str:
        return f"{self.operation} {self.access}"


class Cas(Effect):
    """Atomically store ``new`` where memory holds ``expected``; what was there before."""

    __slots__ = ("access",)
    name = "cas"
    address, expected, new = Operand(0), Operand(1), Operand(2)

    def __init__(self, address: Value, expected: Value, new: Value, access: Access):
        super().__init__(access.width, address, expected, new)
        self.access = access

    def detail(self) -> str:
        return str(self.access)


class Fence(Effect):
    """Order accesses before it before those after it. One that is not ``full`` lets later loads
    pass earlier stores, which costs nothing on an x86-64 host."""

    __slots__ = ("full",)
    name = "fence"

    def __init__(self, full: bool = True):
        super().__init__()
        self.full = full

    def detail(self) -> str:
        return "full" if self.full else ""


# -- control


class Branches(Struct):
    """The two blocks of an `If`. A cold one is left to the slow form of a handler."""

    then: Block
    otherwise: Block = field(default_factory=Block)
    cold: bool = False

    def __iter__(self) -> Iterator[Block]:
        return iter((self.then, self.otherwise))


class If(Effect):
    """Execute one of two blocks, depending on one bit."""

    __slots__ = ("branches",)
    name = "if"
    condition = Operand(0)

    def __init__(self, condition: Value, branches: Branches):
        super().__init__(0, condition)
        self.branches = branches


class Jump(Effect):
    """Continue at ``target`` instead of the next instruction. Nothing may follow on its path.

    ``landing`` is 0, or which kind of indirect jump it is (`decoding.Landing`)."""

    __slots__ = ("landing",)
    name = "jump"
    target = Operand(0)

    def __init__(self, target: Value, landing: int = 0):
        super().__init__(0, target)
        self.landing = landing

    def detail(self) -> str:
        return f"landing {self.landing}" if self.landing else ""


class Trap(Effect):
    """Raise an exception: the instruction has no effect but what the ISA's trap does."""

    __slots__ = ()
    name = "trap"
    cause, value = Operand(0), Operand(1)

    def __init__(self, cause: Value, value: Value):
        super().__init__(0, cause, value)


class Sync(Effect):
    """Mode, translation or interrupt enables may have changed."""

    __slots__ = ()
    name = "sync"


class Leave(Effect):
    """Leave native code before the next instruction, for a `Reason`, with its arguments."""

    __slots__ = ("reason",)
    name = "leave"

    def __init__(self, reason: Reason, *arguments: Value):
        super().__init__(0, *arguments)
        self.reason = reason

    def detail(self) -> str:
        return self.reason


class RoutineCall(Effect):
    """Call a routine of the descriptions or the engine."""

    __slots__ = ("routine",)
    name = "call"

    def __init__(self, routine: Callee, *arguments: Value):
        super().__init__(routine.returns, *arguments)
        self.routine = routine

    def detail(self) -> str:
        return self.routine.name


class HostCall(Effect):
    """Ask the engine a `Question`; the value is its answer."""

    __slots__ = ("question",)
    name = "hcall"

    def __init__(self, question: Question, width: int, *arguments: Value):
        super().__init__(width, *arguments)
        self.question = question

    def detail(self) -> str:
        return self.question


class Return(Effect):
    """End a routine, with a value if it has a result."""

    __slots__ = ()
    name = "ret"

    def __init__(self, *value: Value):
        super().__init__(0, *value)


# -- variables of the trace


class Local(Effect):
    """A variable that outlives a conditional block."""

    __slots__ = ()
    name = "local"
    initial = Operand(0)

    def __init__(self, initial: Value):
        super().__init__(0, initial)


class LocalGet(Effect):
    """The current value of a variable."""

    __slots__ = ()
    name = "local_get"
    local = Operand(0)

    def __init__(self, local: Local):
        super().__init__(local.initial.width, local)


class LocalSet(Effect):
    """Assign to a variable."""

    __slots__ = ()
    name = "local_set"
    local, new = Operand(0), Operand(1)

    def __init__(self, local: Local, new: Value):
        super().__init__(0, local, new)


# -- floating point, see `fp`


class FloatOperation(Effect):
    """IEEE 754 arithmetic in the current rounding mode that raises sticky flags.

    ``op`` is one of `fp`'s: "fadd", "fsqrt", "fconvert", "to_signed", "fless" ... It is applied to
    lanes of ``lane`` bits, and gives lanes of ``to`` bits; a lone comparison gives one bit. With
    ``first_nan`` a NaN among the operands is the result (`fp.add`).
    """

    __slots__ = ("first_nan", "lane", "to")
    name = "float"

    def __init__(self, op: str, lane: int, to: int, *operands: Value, first_nan: bool = False):
        count = operands[0].width // lane
        super().__init__(count * to, *operands)
        self.op, self.lane, self.to, self.first_nan = op, lane, to, first_nan

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return self.args[0].width // self.lane

    @property
    def formats(self) -> set[int]:
        """The widths in bits of its operands and its result, lane by lane."""
        return {self.lane, self.to}


class WithNan(Effect):
    """``result``, a single number, but ``nan`` where it is a NaN; raises nothing."""

    __slots__ = ()
    name = "fp_nan"
    result, nan = Operand(0), Operand(1)

    def __init__(self, result: Value, nan: Value):
        super().__init__(result.width, result, nan)


class FloatFlags(Effect):
    """The sticky flags, five bits, or six."""

    __slots__ = ()
    name = "fp_flags"

    def __init__(self, width: int) -> None:
        super().__init__(width)


class FloatControl(Effect):
    """Change the sticky flags, the rounding mode, or flushing to zero: ``op`` is
    "fp_set_flags", "fp_raise", "fp_set_rounding" or "fp_set_flushing"."""

    __slots__ = ()
    name = "fp_control"
    new = Operand(0)

    def __init__(self, op: str, new: Value):
        super().__init__(0, new)
        self.op = op
