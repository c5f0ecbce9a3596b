"""Lowering of floating point to constrained LLVM intrinsics and the host's control register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..ir.effects import FloatControl, FloatFlags, FloatOperation, WithNan
from ..ir.value import Value
from . import host
from .emit import RARELY, Emitter

__all__ = ["FloatLowering", "for_reference"]

_TYPES = {32: "float", 64: "double"}
_STRICT = '!"fpexcept.strict"'
_DYNAMIC = f'metadata !"round.dynamic", metadata {_STRICT}'
_ARITHMETIC = {"fadd": "fadd", "fsub": "fsub", "fmul": "fmul", "fdiv": "fdiv", "fsqrt": "sqrt",
               "ffma": "fma", "fround": "rint", "fround_current": "nearbyint"}  # fmt: skip
# Those that have no use for the current mode.
_MODELESS = {"fround_even": "roundeven", "fround_zero": "trunc", "fround_down": "floor",
             "fround_up": "ceil"}  # fmt: skip
_COMPARE = {"fequal": ("fcmp", "oeq"), "fless": ("fcmps", "olt"), "fless_equal": ("fcmps", "ole"),
            "funordered": ("fcmp", "uno")}  # fmt: skip
_CONVERT = {"from_signed": "sitofp", "from_unsigned": "uitofp", "to_signed": "fptosi",
            "to_unsigned": "fptoui"}  # fmt: skip
_PREFIX = "@llvm.experimental.constrained."


@dataclass(frozen=True, slots=True)
class _Kind:
    """An LLVM type, and how names of intrinsics say it."""

    type: str
    suffix: str

    @classmethod
    def float(cls, width: int, count: int) -> Self:
        """One number, or a vector of some."""
        one, suffix = _TYPES[width], f"f{width}"
        return cls(one, suffix) if count == 1 else cls(f"<{count} x {one}>", f"v{count}{suffix}")

    @classmethod
    def integer(cls, width: int, count: int) -> Self:
        """The same of integers."""
        one = f"i{width}"
        return cls(one, one) if count == 1 else cls(f"<{count} x {one}>", f"v{count}{one}")


def for_reference(operation: FloatOperation) -> bool:
    """Whether an operation is one that hosts do not have: anything in half precision."""
    return 16 in operation.formats


class FloatLowering(Emitter):
    """Arithmetic, conversions, and the host's floating-point environment."""

    def op_float(self, value: FloatOperation) -> None:
        if value.op in _ARITHMETIC or value.op in _MODELESS:
            self._arithmetic(value)
        elif value.op in _COMPARE:
            self._compare(value)
        else:
            self._conversion(value)

    def _numbers(self, value: FloatOperation) -> tuple[_Kind, list[str]]:
        """The operands as numbers: the type of all, and their names."""
        kind = _Kind.float(value.lane, value.count)
        return kind, [
            self.let(f"bitcast i{arg.width} {self.operand(arg)} to {kind.type}")
            for arg in value.args
        ]

    def _keep(self, value: FloatOperation, name: str, kind: _Kind) -> None:
        """Keep numbers as the result of an operation."""
        if kind.type != f"i{value.width}":
            name = self.let(f"bitcast {kind.type} {name} to i{value.width}")
        self.names[value] = name

    def _arithmetic(self, value: FloatOperation) -> None:
        kind, names = self._numbers(value)
        arguments = ", ".join(f"{kind.type} {name}" for name in names)
        if value.op in _MODELESS:
            name, tail = _MODELESS[value.op], f"metadata {_STRICT}"
        else:
            name, tail = _ARITHMETIC[value.op], _DYNAMIC
        symbol = f"{_PREFIX}{name}.{kind.suffix}"
        result = self.let(f"call {kind.type} {symbol}({arguments}, {tail}) strictfp")
        self._keep(value, result, kind)

    def _compare(self, value: FloatOperation) -> None:
        kind, (a, b) = self._numbers(value)
        intrinsic, predicate = _COMPARE[value.op]
        bits = _Kind.integer(1, value.count)
        name = self.let(
            f"call {bits.type} {_PREFIX}{intrinsic}.{kind.suffix}({kind.type} {a}, "
            f'{kind.type} {b}, metadata !"{predicate}", metadata {_STRICT}) strictfp'
        )
        if value.to == 1:
            self.names[value] = name
            return
        wide = _Kind.integer(value.to, value.count)
        if value.count == 1:
            self.names[value] = self.let(f"sext i1 {name} to {wide.type}")
        else:
            self._keep(value, self.let(f"sext {bits.type} {name} to {wide.type}"), wide)

    def _conversion(self, value: FloatOperation) -> None:
        """Between formats, and between numbers and integers."""
        if value.op in ("from_signed", "from_unsigned"):
            source = _Kind.integer(value.lane, value.count)
        else:
            source = _Kind.float(value.lane, value.count)
        (operand,) = value.args
        name = self.operand(operand)
        if source.type != f"i{operand.width}":
            name = self.let(f"bitcast i{operand.width} {name} to {source.type}")
        if value.op in ("to_signed", "to_unsigned"):
            result = _Kind.integer(value.to, value.count)
        else:
            result = _Kind.float(value.to, value.count)
        symbol, tail = _CONVERT.get(value.op, ""), _DYNAMIC
        if value.op == "fconvert":
            symbol = "fpext" if value.to > value.lane else "fptrunc"
        if symbol in ("fpext", "fptosi", "fptoui"):
            tail = f"metadata {_STRICT}"
        text = f"{_PREFIX}{symbol}.{result.suffix}.{source.suffix}({source.type} {name}, {tail})"
        self._keep(value, self.let(f"call {result.type} {text} strictfp"), result)

    def op_fp_nan(self, value: WithNan) -> None:
        """A branch, for what it skips is rare: so nothing waits for the comparison."""
        result, nan = value.result, value.nan
        kind = _TYPES[result.width]
        number = self.let(f"bitcast i{result.width} {self.operand(result)} to {kind}")
        name = f"@llvm.experimental.constrained.fcmp.f{result.width}"
        is_nan = self.let(
            f'call i1 {name}({kind} {number}, {kind} {number}, metadata !"uno", '
            f"metadata {_STRICT}) strictfp"
        )
        before, other, on = self.at, self.fresh("nan"), self.fresh("on")
        self.branch(is_nan, other, on, RARELY)
        self.label(other)
        self.end(f"br label {on}")
        self.label(on)
        bits = f"i{value.width}"
        self.names[value] = self.let(
            f"phi {bits} [ {self.operand(result)}, {before} ], [ {self.operand(nan)}, {other} ]"
        )

    # -- the environment
    def _cell(self) -> str:
        cell = self.fresh("fpenv")
        self.allocas.append(f"  {cell} = alloca i32")
        return cell

    def _read_environment(self) -> tuple[str, str]:
        cell = self._cell()
        self.put(host.current().read.format(cell=cell))
        return cell, self.let(f"load i32, ptr {cell}")

    def _write_environment(self, cell: str, value: str) -> None:
        self.put(f"store i32 {value}, ptr {cell}")
        self.put(host.current().write.format(cell=cell))

    def op_fp_flags(self, value: FloatFlags) -> None:
        _, environment = self._read_environment()
        flags = "0"
        for n, bit in enumerate(host.current().flag_bits):
            shifted = self.let(f"lshr i32 {environment}, {bit}")
            one = self.let(f"and i32 {shifted}, 1")
            placed = self.let(f"shl i32 {one}, {n}")
            flags = self.let(f"or i32 {flags}, {placed}")
        self.names[value] = self.let(f"trunc i32 {flags} to i5")

    def op_fp_control(self, value: FloatControl) -> None:
        {"fp_set_flags": self._set_flags, "fp_raise": self._raise, "fp_set_rounding": self._round}[
            value.op
        ](value.new)

    def _host_flags(self, value: Value) -> str:
        """Five generic flags at their places in the host's register."""
        wide = self.let(f"zext i5 {self.operand(value)} to i32")
        result = "0"
        for n, bit in enumerate(host.current().flag_bits):
            one = self.let(f"and i32 {wide}, {1 << n}")
            down = self.let(f"lshr i32 {one}, {n}")
            placed = self.let(f"shl i32 {down}, {bit}")
            result = self.let(f"or i32 {result}, {placed}")
        return result

    def _set_flags(self, flags: Value) -> None:
        cell, environment = self._read_environment()
        mask = ~sum(1 << bit for bit in host.current().flag_bits)
        cleared = self.let(f"and i32 {environment}, {mask}")
        new = self.let(f"or i32 {cleared}, {self._host_flags(flags)}")
        self._write_environment(cell, new)

    def _raise(self, flags: Value) -> None:
        cell, environment = self._read_environment()
        new = self.let(f"or i32 {environment}, {self._host_flags(flags)}")
        self._write_environment(cell, new)

    def _round(self, mode: Value) -> None:
        target = host.current()
        cell, environment = self._read_environment()
        # The host's encodings of modes 0 to 3, two bits each, looked up by shifting.
        table = sum(code << 2 * n for n, code in enumerate(target.rounding))
        number = self.let(f"zext i3 {self.operand(mode)} to i32")
        twice = self.let(f"shl i32 {number}, 1")
        amount = self.let(f"and i32 {twice}, 6")
        code = self.let(f"lshr i32 {table}, {amount}")
        field = self.let(f"and i32 {code}, 3")
        placed = self.let(f"shl i32 {field}, {target.rounding_shift}")
        cleared = self.let(f"and i32 {environment}, {~(3 << target.rounding_shift)}")
        new = self.let(f"or i32 {cleared}, {placed}")
        self._write_environment(cell, new)
