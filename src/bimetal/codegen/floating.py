"""Lowering of floating point to constrained LLVM intrinsics and the host's control register.

Half precision is computed in single precision, fused operations in double, and the result is
rounded once more. For significands of 11 bits this is exact, flags included, in every rounding
mode.
"""

from __future__ import annotations

from ..ir.effects import FloatControl, FloatFlags, FloatOperation, WithNan
from ..ir.value import Value
from . import host
from .emit import RARELY, Emitter
from .number_types import Kind
from .processor import host_has

__all__ = ["FloatLowering", "for_reference"]

_STRICT = '!"fpexcept.strict"'
_DYNAMIC = f'metadata !"round.dynamic", metadata {_STRICT}'
_ARITHMETIC = {"fadd": "fadd", "fsub": "fsub", "fmul": "fmul", "fdiv": "fdiv", "fsqrt": "sqrt",
               "ffma": "fma", "fround": "rint", "fround_current": "nearbyint"}  # fmt: skip
# Operations that do not depend on the current rounding mode.
_MODELESS = {"fround_even": "roundeven", "fround_zero": "trunc", "fround_down": "floor",
             "fround_up": "ceil"}  # fmt: skip
_COMPARE = {"fequal": ("fcmp", "oeq"), "fless": ("fcmps", "olt"), "fless_equal": ("fcmps", "ole"),
            "fless_quiet": ("fcmp", "olt"), "fless_equal_quiet": ("fcmp", "ole"),
            "funordered": ("fcmp", "uno"), "fequal_unordered": ("fcmp", "ueq")}  # fmt: skip
_CONVERT = {"from_signed": "sitofp", "from_unsigned": "uitofp", "to_signed": "fptosi",
            "to_unsigned": "fptoui"}  # fmt: skip
_PREFIX = "@llvm.experimental.constrained."

_INFINITY64 = 0x7FF << 52
_SMALL64, _LARGE64 = (1023 - 40) << 52, (1023 + 20) << 52
"""Bits of the doubles 2 ** -40 and 2 ** 20, far outside the range of half precision."""
_LARGE = 1 << 40
"""An integer far above the range of half precision."""


def for_reference(operation: FloatOperation) -> bool:
    """Whether an operation is left to the reference: any of half precision, on hosts that cannot
    convert to and from it (x86-64 without F16C); fused ones whose NaNs matter, without FMA."""
    if operation.first_nan and operation.op == "ffma":
        return not host_has("fma")
    return 16 in operation.formats and not host_has("f16c")


class FloatLowering(Emitter):
    """Arithmetic, conversions, and the host's floating-point environment."""

    def op_float(self, value: FloatOperation) -> None:
        if value.op in _ARITHMETIC or value.op in _MODELESS:
            self._arithmetic(value)
        elif value.op in _COMPARE:
            self._compare(value)
        else:
            self._conversion(value)

    def _numbers(self, value: FloatOperation) -> tuple[Kind, list[str]]:
        """The operands in the format that the host computes in: their common type and names."""
        kind = Kind.float(value.lane, value.count)
        names = [
            self.let(f"bitcast i{arg.width} {self.operand(arg)} to {kind.type}")
            for arg in value.args
        ]
        if value.lane > 16:
            return kind, names
        wide = Kind.float(64 if value.op == "ffma" else 32, value.count)
        return wide, [self._formatted(name, kind, wide) for name in names]

    def _keep(self, value: FloatOperation, name: str, kind: Kind) -> None:
        """Record the result of an operation, converted back to its own format."""
        if kind.type != f"i{value.width}":
            name = self.let(f"bitcast {kind.type} {name} to i{value.width}")
        self.names[value] = name

    def _constrained(self, name: str, result: Kind, source: Kind, operand: str, tail: str) -> str:
        symbol = f"{_PREFIX}{name}.{result.suffix}.{source.suffix}"
        return self.let(f"call {result.type} {symbol}({source.type} {operand}, {tail}) strictfp")

    def _formatted(self, name: str, source: Kind, to: Kind) -> str:
        """Numbers converted to another format; between half and double precision by way of single,
        because hosts have no direct conversion."""
        single = Kind.float(32, source.count)
        if {source.width, to.width} == {16, 64}:
            if source.width == 64:
                name = self._fit_for_single(name, source)
            name, source = self._formatted(name, source, single), single
        if to.width > source.width:
            return self._constrained("fpext", to, source, name, f"metadata {_STRICT}")
        if to.width < source.width:
            return self._constrained("fptrunc", to, source, name, _DYNAMIC)
        return name

    def _fit_for_single(self, name: str, kind: Kind) -> str:
        """Doubles adjusted so that they convert to singles exactly and still round to the same
        halves (rounding to odd): the bits that a single cannot hold become one sticky bit, and
        magnitudes far outside a half's range are limited."""
        bits = Kind.integer(64, kind.count)

        def act(operation: str, a: str, b: int) -> str:
            return self.let(f"{operation} {bits.type} {a}, {bits.every(b)}")

        def pick(condition: str, a: str, b: str) -> str:
            test = Kind.integer(1, kind.count).type
            return self.let(f"select {test} {condition}, {bits.type} {a}, {bits.type} {b}")

        number = self.let(f"bitcast {kind.type} {name} to {bits.type}")
        size = act("and", number, _INFINITY64 | (1 << 52) - 1)
        limited = size
        for which, limit in (("umax", _SMALL64), ("umin", _LARGE64)):
            call = f"call {bits.type} @llvm.{which}.{bits.suffix}({bits.type} {limited}, "
            limited = self.let(f"{call}{bits.type} {bits.every(limit)})")
        # Zero, infinity and NaNs stay.
        less_one = act("sub", size, 1)
        limited = pick(act("icmp ult", less_one, _INFINITY64 - 1), limited, size)
        rest = act("and", limited, (1 << 29) - 1)
        kept = act("and", limited, -(1 << 29))
        odd = pick(act("icmp ne", rest, 0), act("or", kept, 1 << 29), kept)
        sign = act("and", number, -(1 << 63))
        whole = self.let(f"or {bits.type} {odd}, {sign}")
        return self.let(f"bitcast {bits.type} {whole} to {kind.type}")

    def _arithmetic(self, value: FloatOperation) -> None:
        kind, names = self._numbers(value)
        arguments = ", ".join(f"{kind.type} {name}" for name in names)
        exactly = host.current().in_order(value.op, value.lane, value.count)
        if value.first_nan and exactly:
            # LLVM takes these to be commutative, and their NaNs for all the same.
            self._keep(value, self._directly(exactly, kind, arguments), kind)
            return
        if value.op in _MODELESS:
            name, tail = _MODELESS[value.op], f"metadata {_STRICT}"
        else:
            name, tail = _ARITHMETIC[value.op], _DYNAMIC
        symbol = f"{_PREFIX}{name}.{kind.suffix}"
        result = self.let(f"call {kind.type} {symbol}({arguments}, {tail}) strictfp")
        to = Kind.float(value.to, value.count)
        self._keep(value, self._formatted(result, kind, to), to)

    def _directly(self, instruction: tuple[str, str], kind: Kind, arguments: str) -> str:
        """The host's instruction by its name and operands, of which LLVM knows no more than that it
        reads and changes the floating-point environment."""
        text, operands = instruction
        return self.let(
            f'call {kind.type} asm sideeffect "{text}", "{operands}"({arguments}) '
            "nounwind memory(inaccessiblemem: readwrite)"
        )

    def _or_lowest(self, value: FloatOperation) -> None:
        """Conversions to integers as the host does them, of which LLVM leaves the results out of
        range open."""
        kind, (name,) = self._numbers(value)
        to, wide = Kind.integer(value.to, value.count), kind
        if value.count > 1 and kind.width * kind.count < 128:
            wide = Kind.float(kind.width, 128 // kind.width)
            indices = Kind.integer(32, wide.count).numbered()
            name = self.let(
                f"shufflevector {kind.type} {name}, {kind.type} zeroinitializer, {indices}"
            )
        made = to if value.count == 1 else Kind.integer(32, 4)
        instruction = host.current().to_integer(value.op, value.lane, value.count)
        name = self._directly(instruction, made, f"{wide.type} {name}")
        if made != to:
            indices = Kind.integer(32, to.count).numbered()
            name = self.let(f"shufflevector {made.type} {name}, {made.type} poison, {indices}")
        self._keep(value, name, to)

    def _compare(self, value: FloatOperation) -> None:
        kind, (a, b) = self._numbers(value)
        intrinsic, predicate = _COMPARE[value.op]
        bits = Kind.integer(1, value.count)
        name = self.let(
            f"call {bits.type} {_PREFIX}{intrinsic}.{kind.suffix}({kind.type} {a}, "
            f'{kind.type} {b}, metadata !"{predicate}", metadata {_STRICT}) strictfp'
        )
        if value.to == 1:
            self.names[value] = name
            return
        wide = Kind.integer(value.to, value.count)
        if value.count == 1:
            self.names[value] = self.let(f"sext i1 {name} to {wide.type}")
        else:
            self._keep(value, self.let(f"sext {bits.type} {name} to {wide.type}"), wide)

    def _conversion(self, value: FloatOperation) -> None:
        """Between formats, and between numbers and integers."""
        if value.op == "fconvert":
            (operand,) = value.args
            source, to = (Kind.float(width, value.count) for width in (value.lane, value.to))
            name = self.let(f"bitcast i{operand.width} {self.operand(operand)} to {source.type}")
            self._keep(value, self._formatted(name, source, to), to)
        elif value.op in ("from_signed", "from_unsigned"):
            self._from_integers(value)
        elif value.op.endswith("_or_lowest"):
            self._or_lowest(value)
        else:
            kind, (name,) = self._numbers(value)
            # Hosts convert to 32 bits or more only.
            wide, to = (Kind.integer(n, value.count) for n in (max(value.to, 32), value.to))
            name = self._constrained(_CONVERT[value.op], wide, kind, name, f"metadata {_STRICT}")
            if wide != to:
                name = self.let(f"trunc {wide.type} {name} to {to.type}")
            self._keep(value, name, to)

    def _from_integers(self, value: FloatOperation) -> None:
        (operand,) = value.args
        source, to = Kind.integer(value.lane, value.count), Kind.float(value.to, value.count)
        name = self.operand(operand)
        if source.type != f"i{operand.width}":
            name = self.let(f"bitcast i{operand.width} {name} to {source.type}")
        made, convert = to, _CONVERT[value.op]
        if value.op == "from_unsigned" and value.lane < 64:
            # LLVM makes a vector's zeros negative where rounding is down, on hosts that have no
            # instruction for this.
            wide = Kind.integer(2 * value.lane, value.count)
            name = self.let(f"zext {source.type} {name} to {wide.type}")
            source, convert = wide, "sitofp"
        if value.to == 16:  # by way of doubles, which hold all integers in range exactly
            made = Kind.float(64, value.count)
            if value.lane == 64:
                name, convert = self._limited(name, source, value.op == "from_signed"), "sitofp"
        name = self._constrained(convert, made, source, name, _DYNAMIC)
        self._keep(value, self._formatted(name, made, to), to)

    def _limited(self, name: str, kind: Kind, signed: bool) -> str:
        """Integers, limited to values that already overflow a half."""
        bounds = (("smin", _LARGE), ("smax", -_LARGE)) if signed else (("umin", _LARGE),)
        for which, bound in bounds:
            call = f"call {kind.type} @llvm.{which}.{kind.suffix}({kind.type} {name}, "
            name = self.let(f"{call}{kind.type} {kind.every(bound)})")
        return name

    def op_fp_nan(self, value: WithNan) -> None:
        """Replace a NaN by the ISA's own: a branch, not a select. NaNs are rare, so that way
        nothing waits for the comparison."""
        result, nan = value.result, value.nan
        kind = Kind.float(result.width, 1)
        number = self.let(f"bitcast i{result.width} {self.operand(result)} to {kind.type}")
        is_nan = self.let(
            f"call i1 {_PREFIX}fcmp.{kind.suffix}({kind.type} {number}, {kind.type} {number}, "
            f'metadata !"uno", metadata {_STRICT}) strictfp'
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
        for n, bit in enumerate(host.current().flag_bits[: value.width]):
            shifted = self.let(f"lshr i32 {environment}, {bit}")
            one = self.let(f"and i32 {shifted}, 1")
            placed = self.let(f"shl i32 {one}, {n}")
            flags = self.let(f"or i32 {flags}, {placed}")
        self.names[value] = self.let(f"trunc i32 {flags} to i{value.width}")

    def op_fp_control(self, value: FloatControl) -> None:
        {
            "fp_set_flags": self._set_flags,
            "fp_raise": self._raise,
            "fp_set_rounding": self._round,
            "fp_set_flushing": self._flush,
        }[value.op](value.new)

    def _placed(self, value: Value, bits: tuple[int, ...]) -> str:
        """The generic bits of ``value``, each at its place in the host's control register."""
        wide = self.let(f"zext i{value.width} {self.operand(value)} to i32")
        result = "0"
        for n, bit in enumerate(bits):
            one = self.let(f"and i32 {wide}, {1 << n}")
            down = self.let(f"lshr i32 {one}, {n}")
            placed = self.let(f"shl i32 {down}, {bit}")
            result = self.let(f"or i32 {result}, {placed}")
        return result

    def _replace(self, value: Value, bits: tuple[int, ...]) -> None:
        cell, environment = self._read_environment()
        mask = ~sum(1 << bit for bit in bits)
        cleared = self.let(f"and i32 {environment}, {mask}")
        new = self.let(f"or i32 {cleared}, {self._placed(value, bits)}")
        self._write_environment(cell, new)

    def _set_flags(self, flags: Value) -> None:
        self._replace(flags, host.current().flag_bits[: flags.width])

    def _flush(self, what: Value) -> None:
        self._replace(what, host.current().flushing_bits)

    def _raise(self, flags: Value) -> None:
        cell, environment = self._read_environment()
        bits = host.current().flag_bits[: flags.width]
        new = self.let(f"or i32 {environment}, {self._placed(flags, bits)}")
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
