"""The table of operations: every one at its edges, in Python and, by the same table, in LLVM."""

from __future__ import annotations

import ctypes
import itertools

import llvmlite.binding as llvm
import pytest

from bimetal.ir.ops import OPS, Op, Result, signed

EDGES = {
    8: (0, 1, 2, 7, 0x7F, 0x80, 0xA5, 0xFE, 0xFF),
    32: (0, 1, 31, 0x7FFF_FFFF, 0x8000_0000, 0x1234_5678, 0xFFFF_FFFF),
    64: (0, 1, 63, (1 << 63) - 1, 1 << 63, 0x0123_4567_89AB_CDEF, (1 << 64) - 1),
}
UNARY = ("abs", "clz", "ctz", "popcount", "bswap", "bitreverse")
SHIFTS = ("shl", "lsr", "asr")
DIVISIONS = ("udiv", "urem", "sdiv", "srem")
CASTS = {("zext", 8): 32, ("zext", 32): 64, ("sext", 8): 64, ("sext", 32): 64,
         ("trunc", 64): 32, ("trunc", 32): 8}  # fmt: skip


def defined(name: str, width: int, a: int, b: int) -> bool:
    """Whether LLVM says what comes out."""
    if name in SHIFTS:
        return b < width
    if name in DIVISIONS:
        return b != 0 and not (name[0] == "s" and a == 1 << (width - 1) and signed(b, width) == -1)
    return True


def operand_tuples(name: str, width: int) -> list[tuple[int, ...]]:
    if name in UNARY or OPS[name].result is Result.GIVEN:
        return [(a,) for a in EDGES[width]]
    pairs = itertools.product(EDGES[width], EDGES[width])
    return [(a, b) for a, b in pairs if defined(name, width, a, b)]


def cases() -> list[tuple[str, int, int]]:
    """Name, width of the operands, width of the result."""
    found = []
    for name, op in OPS.items():
        for width in EDGES:
            if op.result is Result.GIVEN:
                if (name, width) in CASTS:
                    found.append((name, width, CASTS[name, width]))
            elif not (name == "bswap" and width == 8):
                found.append((name, width, 1 if op.result is Result.BIT else width))
    return found


def source(name: str, width: int, result: int) -> str:
    op: Op = OPS[name]
    operands = dict(zip("abc", ("%a", "%b", "%b"), strict=True))
    body = op.llvm.format(t=f"i{width}", s=f"i{width}", r=f"i{result}", **operands)
    symbol = f"{name}_{width}_{result}"
    lines = [f"define i64 @{symbol}(i64 %wa, i64 %wb) {{"]
    for operand in "ab":
        cast = "add i64 0, %w{0}" if width == 64 else f"trunc i64 %w{{0}} to i{width}"
        lines.append(f"  %{operand} = " + cast.format(operand))
    widen = "add i64 0, %r" if result == 64 else f"zext i{result} %r to i64"
    lines += [f"  %r = {body}", f"  %out = {widen}", "  ret i64 %out", "}"]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def native() -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = "\n".join(source(*case) for case in cases())
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


@pytest.mark.parametrize("case", cases(), ids=lambda case: "-".join(map(str, case)))
def test_python_and_llvm_agree(case: tuple[str, int, int], native: llvm.ExecutionEngine) -> None:
    name, width, result = case
    address = native.get_function_address(f"{name}_{width}_{result}")
    function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(address)
    for operands in operand_tuples(name, width):
        expected = OPS[name].evaluate(width, *operands) & ((1 << result) - 1)
        assert function(operands[0], operands[-1]) == expected, operands
