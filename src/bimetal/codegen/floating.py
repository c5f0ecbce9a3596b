"""Lowering of floating point to constrained LLVM intrinsics and the host's control register."""

from __future__ import annotations

from ..ir.effects import FloatControl, FloatFlags, FloatOperation, WithNan
from ..ir.value import Value
from . import host
from .emit import RARELY, Emitter

__all__ = ["FloatLowering", "declarations", "for_reference"]

_TYPES = {32: "float", 64: "double"}
_STRICT = '!"fpexcept.strict"'
_DYNAMIC = f'metadata !"round.dynamic", metadata {_STRICT}'
_ARITHMETIC = {"fadd": "fadd", "fsub": "fsub", "fmul": "fmul", "fdiv": "fdiv", "fsqrt": "sqrt",
               "ffma": "fma", "fround": "rint"}  # fmt: skip
_COMPARE = {"fequal": ("fcmp", "oeq"), "fless": ("fcmps", "olt"), "fless_equal": ("fcmps", "ole")}
_CONVERT = {"from_signed": "sitofp", "from_unsigned": "uitofp", "to_signed": "fptosi",
            "to_unsigned": "fptoui"}  # fmt: skip


def for_reference(operation: FloatOperation) -> bool:
    """Whether an operation is one that hosts do not have: anything in half precision."""
    return 16 in operation.formats


class FloatLowering(Emitter):
    """Arithmetic, conversions, and the host's floating-point environment."""

    def op_float(self, value: FloatOperation) -> None:
        if value.op in _ARITHMETIC:
            self.names[value] = self._arithmetic(value)
        elif value.op in _COMPARE:
            self.names[value] = self._compare(value)
        else:
            self.names[value] = self._conversion(value)

    def _number(self, value: Value) -> tuple[str, str]:
        """A bit vector as (type, operand) of the format of its width."""
        kind = _TYPES[value.width]
        return kind, self.let(f"bitcast i{value.width} {self.operand(value)} to {kind}")

    def _bits(self, name: str, width: int) -> str:
        return self.let(f"bitcast {_TYPES[width]} {name} to i{width}")

    def _arithmetic(self, value: FloatOperation) -> str:
        operands = [self._number(arg) for arg in value.args]
        kind, suffix = operands[0][0], f"f{value.width}"
        arguments = ", ".join(f"{k} {n}" for k, n in operands)
        name = f"@llvm.experimental.constrained.{_ARITHMETIC[value.op]}.{suffix}"
        result = self.let(f"call {kind} {name}({arguments}, {_DYNAMIC}) strictfp")
        return self._bits(result, value.width)

    def _compare(self, value: FloatOperation) -> str:
        (kind, a), (_, b) = (self._number(arg) for arg in value.args)
        intrinsic, predicate = _COMPARE[value.op]
        name = f"@llvm.experimental.constrained.{intrinsic}.f{value.args[0].width}"
        return self.let(
            f'call i1 {name}({kind} {a}, {kind} {b}, metadata !"{predicate}", '
            f"metadata {_STRICT}) strictfp"
        )

    def op_fp_nan(self, value: WithNan) -> None:
        """A branch, for what it skips is rare: so nothing waits for the comparison."""
        result, nan = value.result, value.nan
        kind, number = self._number(result)
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

    def _conversion(self, value: FloatOperation) -> str:
        source = value.args[0]
        prefix = "@llvm.experimental.constrained."
        if value.op in ("from_signed", "from_unsigned"):
            kind = _TYPES[value.width]
            name = f"{prefix}{_CONVERT[value.op]}.f{value.width}.i{source.width}"
            text = f"i{source.width} {self.operand(source)}, {_DYNAMIC}"
            return self._bits(self.let(f"call {kind} {name}({text}) strictfp"), value.width)
        from_kind, number = self._number(source)
        if value.op == "fconvert":
            kind = _TYPES[value.width]
            widening = value.width > source.width
            operation = "fpext" if widening else "fptrunc"
            tail = f"metadata {_STRICT}" if widening else _DYNAMIC
            name = f"{prefix}{operation}.f{value.width}.f{source.width}"
            result = self.let(f"call {kind} {name}({from_kind} {number}, {tail}) strictfp")
            return self._bits(result, value.width)
        name = f"{prefix}{_CONVERT[value.op]}.i{value.width}.f{source.width}"
        return self.let(
            f"call i{value.width} {name}({from_kind} {number}, metadata {_STRICT}) strictfp"
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


def declarations() -> list[str]:
    """LLVM declarations of every intrinsic that this module uses."""
    prefix = "@llvm.experimental.constrained."
    lines = []
    for width, kind in _TYPES.items():
        for operation, operands in (("fadd", 2), ("fsub", 2), ("fmul", 2), ("fdiv", 2),
                                    ("sqrt", 1), ("fma", 3), ("rint", 1)):  # fmt: skip
            arguments = ", ".join([kind] * operands)
            lines.append(
                f"declare {kind} {prefix}{operation}.f{width}({arguments}, metadata, metadata)"
            )
        for operation in ("fcmp", "fcmps"):
            lines.append(
                f"declare i1 {prefix}{operation}.f{width}({kind}, {kind}, metadata, metadata)"
            )
        for integer in (32, 64):
            for operation in ("sitofp", "uitofp"):
                lines.append(
                    f"declare {kind} {prefix}{operation}.f{width}.i{integer}"
                    f"(i{integer}, metadata, metadata)"
                )
            for operation in ("fptosi", "fptoui"):
                lines.append(
                    f"declare i{integer} {prefix}{operation}.i{integer}.f{width}({kind}, metadata)"
                )
    lines.append(f"declare double {prefix}fpext.f64.f32(float, metadata)")
    lines.append(f"declare float {prefix}fptrunc.f32.f64(double, metadata, metadata)")
    return lines
