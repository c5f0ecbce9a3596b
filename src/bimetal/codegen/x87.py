"""Lowering of extended precision to the host's x87.

Each operation is a piece of the host's code of its own, which LLVM takes as it is: operands come
from memory, the result and the status go there, and the registers are empty before and after. The
control word is the guest's with all exceptions masked; afterwards it is what C expects again.

Between operations the host has no flag but, perhaps, that of an inexact result. So where the guest
has the usual control word, and it is known that something was inexact, which most programs' first
operation sees to, neither the control word has to be loaded nor the flags to be cleared.
"""

from __future__ import annotations

from ..ir.extended import KNOWN_INEXACT, OPERATIONS, STATUS, Extended
from .emit import Emitter
from .host import Host

__all__ = ["ExtendedLowering"]

USUAL_CONTROL = Host.usual_x87
MASKS = FLAGS = 0x3F
INEXACT = 1 << 5
ROUNDING = 0xF00
"""The fields of a control word for rounding and for precision."""
C0, C1, C2, C3 = 1 << 8, 1 << 9, 1 << 10, 1 << 14
CONDITIONS = {
    **dict.fromkeys(("com", "ucom"), C0 | C2 | C3),
    **dict.fromkeys(("prem", "prem1"), C0 | C1 | C2 | C3),
    **dict.fromkeys(("sin", "cos", "tan"), C1 | C2),
}
"""The condition codes that operations set; others only have C1."""

# In Intel's syntax. $0 is the status, in AX, $1 the result, $2 the control word, $3 and $4 are
# operands, $5 is the usual control word. The status is read before what would change C1.
_STATUS, _RESULT = "fnstsw ax", "fstp tbyte ptr $1"
_ONE, _TWO = "fld tbyte ptr $3", "fld tbyte ptr $4"
_DROP = "fstp st(0)"
_CLEAR = ("fld1", "ftst", _DROP)
"""A comparison that clears the condition codes, where an operation may leave them alone."""


def _unary(instruction: str, load: str = _ONE) -> tuple[str, ...]:
    return load, instruction, _STATUS, _RESULT


def _binary(instruction: str) -> tuple[str, ...]:
    """The first operand below the second, both replaced by the result."""
    return _ONE, _TWO, instruction, _STATUS, _RESULT


def _first_on_top(*instructions: str) -> tuple[str, ...]:
    return _TWO, _ONE, *instructions


def _stored(instruction: str) -> tuple[str, ...]:
    """What stores its result itself."""
    return _ONE, instruction, _STATUS


_KINDS = {"16": "word", "32": "dword", "64": "qword"}
_CODE: dict[str, tuple[str, ...]] = {
    "add": _binary("faddp st(1), st"), "mul": _binary("fmulp st(1), st"),
    "sub": _binary("fsubp st(1), st"), "div": _binary("fdivp st(1), st"),
    "patan": _binary("fpatan"), "yl2x": _binary("fyl2x"), "yl2xp1": _binary("fyl2xp1"),
    "scale": _first_on_top("fscale", _STATUS, _RESULT, _DROP),
    **{name: (*_CLEAR, *_first_on_top(f"f{name}", _STATUS, _RESULT, _DROP))
       for name in ("prem", "prem1")},
    "com": _first_on_top("fcompp", _STATUS), "ucom": _first_on_top("fucompp", _STATUS),
    **{name: _unary(f"f{name}") for name in ("sqrt", "rndint", "sin", "cos")},
    "2xm1": _unary("f2xm1"),
    # A 1 above the result, unless the operand is out of range.
    "tan": (_ONE, "fptan", _STATUS, "test ah, 4", "jne 2f", _DROP, "2:", _RESULT),
    "exponent": (_ONE, "fxtract", _STATUS, _DROP, _RESULT),
    "significand": (_ONE, "fxtract", _STATUS, _RESULT, _DROP),
    "to_32": _stored("fstp dword ptr $1"), "to_64": _stored("fstp qword ptr $1"),
    "to_bcd": _stored("fbstp tbyte ptr $1"),
    **{f"to_i{width}": _stored(f"fistp {kind} ptr $1") for width, kind in _KINDS.items()},
    **{f"cut_i{width}": _stored(f"fisttp {kind} ptr $1") for width, kind in _KINDS.items()},
    "from_32": ("fld dword ptr $3", _STATUS, _RESULT),
    "from_64": ("fld qword ptr $3", _STATUS, _RESULT),
    "from_i64": ("fild qword ptr $3", _STATUS, _RESULT),
    "from_bcd": ("fbld tbyte ptr $3", _STATUS, _RESULT),
}  # fmt: skip


_RESULTS = {f"{how}_i{width}": int(width) for how in ("to", "cut") for width in _KINDS}
_RESULTS |= {"to_32": 32, "to_64": 64}
"""The bits of results that are no numbers of 80 bits."""


def _text(operation: str) -> str:
    code, clear = _CODE[operation], "fnclex"
    lines = (
        *("mov ax, word ptr $2", f"and ax, {ROUNDING | MASKS | KNOWN_INEXACT}"),
        *(f"cmp ax, {USUAL_CONTROL & ROUNDING | MASKS | KNOWN_INEXACT}", "jne 3f"),
        *(*code, f"test al, {FLAGS & ~INEXACT}", "je 5f", "jmp 4f"),
        *("3:", clear, "fldcw word ptr $2", *code, "fldcw word ptr $5"),
        *("4:", clear, "5:"),
    )
    return "\\0A".join(lines)


class ExtendedLowering(Emitter):
    """Lowers the operations of `ir.extended`."""

    def op_extended(self, value: Extended) -> None:
        control, *operands = value.args
        width = _RESULTS.get(value.operation, STATUS)
        result = self._space(width)
        word = self.operand(control)
        given = [self._room(16, self.let(f"or i16 {word}, {MASKS}"))]
        for operand, bits in zip(operands, OPERATIONS[value.operation], strict=True):
            given.append(self._room(bits, self.operand(operand)))
        given += [given[-1]] * (3 - len(given))
        given.append(self._room(16, str(USUAL_CONTROL)))
        kinds = (f"i{width}", "i16", "i128", "i128", "i16")
        pointers = [
            f"ptr elementtype({kind}) {at}"
            for kind, at in zip(kinds, (result, *given), strict=True)
        ]
        said = self.let(
            f'call i16 asm sideeffect inteldialect "{_text(value.operation)}", '
            f'"=&{{ax}},=*m,*m,*m,*m,*m,~{{flags}}"({", ".join(pointers)})'
        )
        # Loads are those of the parts that were stored, which need not wait for memory.
        number = "0"
        if value.operation not in ("com", "ucom"):
            number = self.let(f"load i{width}, ptr {result}, align 16")
            number = self.widen(number, "i96", width)
        # Conditions that an operation says nothing of are those of an earlier one.
        said = self.let(f"and i16 {said}, {FLAGS | CONDITIONS.get(value.operation, C1)}")
        known = self.let(f"and i16 {word}, {KNOWN_INEXACT}")
        down = KNOWN_INEXACT.bit_length() - INEXACT.bit_length()
        said = self.let(f"or i16 {said}, {self.let(f'lshr i16 {known}, {down}')}")
        above = self.let(f"shl i96 {self.widen(said, 'i96', 16)}, {STATUS}")
        self.names[value] = self.let(f"or i96 {number}, {above}")

    def _room(self, width: int, content: str) -> str:
        """A place in memory of at least so many bits, with something in it."""
        cell = self._space(width)
        self.put(f"store i{width} {content}, ptr {cell}, align 16")
        return cell

    def _space(self, width: int) -> str:
        cell = self.fresh("x87")
        self.allocas.append(f"  {cell} = alloca i{max(width, 16)}, align 16")
        return cell
