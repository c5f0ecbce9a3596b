"""The classic operations (volume 2): ADD, OR, ADC, SBB, AND, SUB, XOR, CMP; INC, DEC, NEG, NOT,
TEST."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.value import Value, const
from bimetal.isa.trace import Cpu, pin, when

from ..describing import insn
from ..flags import Flags, added, of_logic, set_flags, subtracted
from ..locked import compared, locked
from ..operands import Immediate, Memory, Source, operand

Operation = Callable[[Cpu, Value, Value], tuple[Value, Flags]]
"""From two operands to the result and the flags."""


def _logic(operation: Callable[[Value, Value], Value]) -> Operation:
    def meaning(cpu: Cpu, a: Value, b: Value) -> tuple[Value, Flags]:
        result = operation(a, b)
        return result, of_logic(result)

    return meaning


OPERATIONS: tuple[tuple[str, Operation, str], ...] = (
    ("add", lambda cpu, a, b: added(a, b), "add"),
    ("or", _logic(lambda a, b: a | b), "or"),
    ("adc", lambda cpu, a, b: added(a, b, cpu.cf), "add"),
    ("sbb", lambda cpu, a, b: subtracted(a, b, cpu.cf), "add"),
    ("and", _logic(lambda a, b: a & b), "and"),
    ("sub", lambda cpu, a, b: subtracted(a, b), "add"),
    ("xor", _logic(lambda a, b: a ^ b), "xor"),
    ("cmp", lambda cpu, a, b: subtracted(a, b), ""),
)
"""In the order of their numbers: name, meaning, and the atomic update that does it under LOCK."""


def lockable(
    row: str, text: str, extension: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Describe an instruction that may have the prefix LOCK if its operand is in memory: if that is
    misaligned it begins anew where another vCPU is in its way."""
    return insn(
        row + " lock",
        "{:lock}" + text,
        where=lambda lock, memory, **_: (lock == 0) | (memory == 1),
        extension=extension,
        restartable=True,
    )


def is_locked(to: object, fields: dict[str, Value]) -> bool:
    """Whether the operand is in memory, and locked."""
    return isinstance(to, Memory) and bool(pin(fields["lock"]))


def _form(number: int, row: str, dst: str, src: str) -> None:
    name, operation, update = OPERATIONS[number]
    text = f"{name} {{:{dst}}}, {{:{src}}}"
    may_lock = dst[0] == "E" and bool(update)

    def meaning(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, dst, fields, writes=bool(update))
        source: Source = Immediate(fields, to.width) if src[0] == "I" else operand(cpu, src, fields)
        b = source.read()
        if may_lock and isinstance(to, Memory) and is_locked(to, fields):
            addend = b + cpu.cf.zext(b.width) if name in ("adc", "sbb") else b
            addend = -addend if name in ("sub", "sbb") else addend
            _, flags = operation(cpu, locked(cpu, update, to.address, addend), b)
        else:
            result, flags = operation(cpu, to.read(), b)
            if update:
                to.write(result)
        set_flags(cpu, flags)

    (lockable(row, text) if may_lock else insn(row, text))(meaning)


for _number in range(8):
    for _offset, (_dst, _src) in enumerate(
        (("Eb", "Gb"), ("Ev", "Gv"), ("Gb", "Eb"), ("Gv", "Ev"))
    ):
        _form(_number, f"{8 * _number + _offset:02x} /r", _dst, _src)
    _form(_number, f"{8 * _number + 4:02x} ib", "AL", "Ib")
    _form(_number, f"{8 * _number + 5:02x} iz", "rAX", "Iz")
    _form(_number, f"80 /{_number} ib", "Eb", "Ib")
    _form(_number, f"82 /{_number} ib i64", "Eb", "Ib")
    _form(_number, f"81|83 /{_number}", "Ev", "Iz")


def _step(name: str, rows: tuple[str, ...], code: str, step: int) -> None:
    def meaning(cpu: Cpu, **fields: Value) -> None:
        """CF stays as it is."""
        to = operand(cpu, code, fields, writes=True)
        if isinstance(to, Memory) and is_locked(to, fields):
            a = locked(cpu, "add", to.address, const(step, to.width))
        else:
            a = to.read()
            to.write(a + step)
        one = const(1, to.width)
        _, flags = added(a, one) if step > 0 else subtracted(a, one)
        set_flags(cpu, flags, keep="cf")

    for row in rows:
        text = f"{name} {{:{code}}}"
        (lockable(row, text) if code[0] == "E" else insn(row, text))(meaning)


_step("inc", ("fe /0",), "Eb", 1)
_step("inc", ("ff /0",), "Ev", 1)
_step("inc", ("40+r i64",), "Zv", 1)
_step("dec", ("fe /1",), "Eb", -1)
_step("dec", ("ff /1",), "Ev", -1)
_step("dec", ("48+r i64",), "Zv", -1)


def _one(row: str, code: str) -> None:
    @lockable(f"{row} /2", f"not {{:{code}}}")
    def complement(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, code, fields, writes=True)
        if isinstance(to, Memory) and is_locked(to, fields):
            locked(cpu, "xor", to.address, const(-1, to.width))
        else:
            to.write(~to.read())

    @lockable(f"{row} /3", f"neg {{:{code}}}")
    def negate(cpu: Cpu, **fields: Value) -> None:
        to = operand(cpu, code, fields, writes=True)
        a = to.read()
        result, flags = subtracted(const(0, a.width), a)
        if isinstance(to, Memory) and is_locked(to, fields):
            # Another vCPU may have stored since: then once more.
            with when(compared(cpu, to.address, a, result) != a) as failed:
                cpu.jump(cpu.pc)
                with failed.otherwise():
                    set_flags(cpu, flags)
            return
        to.write(result)
        set_flags(cpu, flags)


_one("f6", "Eb")
_one("f7", "Ev")


def _test(row: str, dst: str, src: str) -> None:
    @insn(row, f"test {{:{dst}}}, {{:{src}}}")
    def test(cpu: Cpu, **fields: Value) -> None:
        a = operand(cpu, dst, fields)
        b: Source = Immediate(fields, a.width) if src[0] == "I" else operand(cpu, src, fields)
        set_flags(cpu, of_logic(a.read() & b.read()))


_test("84 /r", "Eb", "Gb")
_test("85 /r", "Ev", "Gv")
_test("a8 ib", "AL", "Ib")
_test("a9 iz", "rAX", "Iz")
for _digit in (0, 1):
    _test(f"f6 /{_digit}", "Eb", "Ib")
    _test(f"f7 /{_digit}", "Ev", "Iz")
