"""What is particular to the host's processor: its floating-point environment and its special
instructions.

The guest's rounding mode and sticky flags live in the host's control register while native code
runs. A host is supported once it is described here; the register layouts come from the Intel SDM
(volume 1, 10.2.3).
"""

from __future__ import annotations

import platform
from typing import ClassVar

from ..base.errors import BimetalError
from .processor import host_has, made_by

__all__ = ["Host", "current"]


AES_BLOCK = "bitcast i128 {0} to <2 x i64>"


def _aes(*instructions: str) -> tuple[str, ...]:
    """AES-NI's instructions, one after the other, with a round key of zero."""
    keyless = (
        f"call <2 x i64> @llvm.x86.aesni.{name}(<2 x i64> {{{number}}}"
        f"{'' if name == 'aesimc' else ', <2 x i64> zeroinitializer'})"
        for number, name in enumerate(instructions, 1)
    )
    return AES_BLOCK, *keyless, f"bitcast <2 x i64> {{{len(instructions) + 1}}} to i128"


def _estimates(name: str) -> tuple[str, ...]:
    """Estimates of four numbers in single precision."""
    return (
        "bitcast i128 {0} to <4 x float>",
        f"call <4 x float> @llvm.x86.sse.{name}.ps(<4 x float> {{1}})",
        "bitcast <4 x float> {2} to i128",
    )


def _signs(lane: int) -> tuple[str, ...]:
    """The highest bit of each lane."""
    lanes = f"<{128 // lane} x i{lane}>"
    return (
        f"bitcast i128 {{0}} to {lanes}",
        f"icmp slt {lanes} {{1}}, zeroinitializer",
        f"bitcast <{128 // lane} x i1> {{2}} to i{128 // lane}",
    )


def _sha256(result: str) -> tuple[str, ...]:
    """Four rounds of SHA-256: the host wants A, B, E and F in one register, C, D, G and H in
    another."""
    return (
        *(f"bitcast i128 {{{n}}} to <4 x i32>" for n in range(3)),
        _shuffled(3, 4, "i32 5, i32 4, i32 1, i32 0"),
        _shuffled(3, 4, "i32 7, i32 6, i32 3, i32 2"),
        _shuffled(5, 5, "i32 2, i32 3, i32 2, i32 3"),
        _two_rounds(7, 6, 5),
        _two_rounds(6, 9, 8),
        _shuffled(10, 9, result),
        "bitcast <4 x i32> {11} to i128",
    )


def _shuffled(a: int, b: int, lanes: str) -> str:
    return f"shufflevector <4 x i32> {{{a}}}, <4 x i32> {{{b}}}, <4 x i32> <{lanes}>"


def _two_rounds(a: int, b: int, words: int) -> str:
    operands = ", ".join(f"<4 x i32> {{{n}}}" for n in (a, b, words))
    return f"call <4 x i32> @llvm.x86.sha256rnds2({operands})"


class Host:
    """x86-64: MXCSR holds flags in bits 0 (IE), 2 (ZE), 3 (OE), 4 (UE) and 5 (PE), the rounding
    mode in 14:13, denormals-are-zero in 6 and flush-to-zero in 15."""

    read = "call void @llvm.x86.sse.stmxcsr(ptr {cell})"
    write = "call void @llvm.x86.sse.ldmxcsr(ptr {cell})"
    # What the operations of `x87` expect while native code runs: the usual control word, and no
    # flags; and what the caller had.
    enter_x87 = (
        'call void asm sideeffect inteldialect "fnstcw word ptr $0\\0Afnclex\\0Afldcw word ptr $1",'
        ' "=*m,*m,~{{fpsr}},~{{flags}}"(ptr elementtype(i16) {saved}, ptr elementtype(i16) {usual})'
    )
    leave_x87 = (
        'call void asm sideeffect inteldialect "fnclex\\0Afldcw word ptr $0",'
        ' "*m,~{{fpsr}},~{{flags}}"(ptr elementtype(i16) {saved})'
    )
    usual_x87 = 0x37F
    # All exceptions masked, no flags, nearest-even, denormals handled.
    default = 0x1F80
    # Host bit of each generic flag NX, UF, OF, DZ, NV, DE (see ir.fp).
    flag_bits = (5, 4, 3, 2, 0, 1)
    # Host rounding field of generic modes 0 nearest, 1 zero, 2 down, 3 up.
    rounding = (0, 3, 1, 2)
    rounding_shift = 13
    # Host bits for flushing to zero: of operands (DAZ), of results (FTZ).
    flushing_bits = (6, 15)
    # Instructions that compute the same but for NaNs with their operands exchanged.
    commutative: ClassVar = {"fadd": "add", "fmul": "mul", "ffma": "fmadd132"}
    # Looks up sixteen bytes in a table of sixteen; an index with bit 7 set gives 0 (SSSE3).
    byte_table = "call <16 x i8> @llvm.x86.ssse3.pshuf.b.128(<16 x i8> {}, <16 x i8> {})"

    # Compound operations: the host feature by the kernel's name, and lines of LLVM whose results
    # are numbered after the operands.
    compounds = {
        "multiply_add_pairs": ("sse2", (
            "bitcast i128 {0} to <8 x i16>",
            "bitcast i128 {1} to <8 x i16>",
            "call <4 x i32> @llvm.x86.sse2.pmadd.wd(<8 x i16> {2}, <8 x i16> {3})",
            "bitcast <4 x i32> {4} to i128",
        )),
        "clmul": ("pclmulqdq", (
            "insertelement <2 x i64> zeroinitializer, i64 {0}, i32 0",
            "insertelement <2 x i64> zeroinitializer, i64 {1}, i32 0",
            "call <2 x i64> @llvm.x86.pclmulqdq(<2 x i64> {2}, <2 x i64> {3}, i8 0)",
            "bitcast <2 x i64> {4} to i128",
        )),
        "aes_encrypt": ("aes", _aes("aesenclast")),
        "aes_decrypt": ("aes", _aes("aesdeclast")),
        "aes_encrypt_mix": ("aes", _aes("aesenc")),
        "aes_decrypt_mix": ("aes", _aes("aesdec")),
        "aes_mix": ("aes", _aes("aesdeclast", "aesenc")),
        "aes_unmix": ("aes", _aes("aesimc")),
        "reciprocal_estimate": ("sse", _estimates("rcp")),
        "root_reciprocal_estimate": ("sse", _estimates("rsqrt")),
        **{f"signs_{lane}": ("sse2", _signs(lane)) for lane in (8, 32, 64)},
        "sha256_abcd": ("sha_ni", _sha256("i32 3, i32 2, i32 7, i32 6")),
        "sha256_efgh": ("sha_ni", _sha256("i32 1, i32 0, i32 5, i32 4")),
    }  # fmt: skip

    # What only one maker's processors compute with the bits that are defined: each has tables of
    # its own for estimates.
    makers: ClassVar = dict.fromkeys(
        ("reciprocal_estimate", "root_reciprocal_estimate"), "GenuineIntel"
    )

    @classmethod
    def compound(cls, name: str) -> tuple[str, ...]:
        """This host's instructions for a compound operation; empty if it has none that gives the
        same bits."""
        feature, lines = cls.compounds.get(name, ("", ()))
        fits = name not in cls.makers or made_by(cls.makers[name])
        return lines if lines and fits and host_has(feature) else ()

    @classmethod
    def in_order(cls, op: str, lane: int, count: int) -> tuple[str, str] | None:
        """The instruction for an operation of `ir.fp` on so many numbers that chooses among NaNs by
        the order of operands: its text, and LLVM's constraints of the operands. None where LLVM
        keeps that order."""
        if op not in cls.commutative or (count > 1 and lane * count not in (128, 256)):
            return None
        name = cls.commutative[op] + ("s" if count == 1 else "p") + ("s" if lane == 32 else "d")
        if op == "ffma":
            return f"v{name} $2, $3, $0", "=x,0,x,x"
        if host_has("avx"):
            return f"v{name} $2, $1, $0", "=x,x,x"
        return f"{name} $2, $0", "=x,0,x"

    @classmethod
    def to_integer(cls, op: str, lane: int, count: int) -> tuple[str, str]:
        """The same for a conversion to integers, truncated or rounded."""
        how = "cvt" if op.startswith("rounded") else "cvtt"
        of, to = ("s", "si") if count == 1 else ("p", "dq")
        name = ("v" if host_has("avx") else "") + how + of + ("s" if lane == 32 else "d") + "2" + to
        return f"{name} $1, $0", "=r,x" if count == 1 else "=x,x"

    @classmethod
    def flags_of(cls, environment: int, count: int) -> int:
        """So many generic flags in a control register's value."""
        return sum((environment >> bit & 1) << n for n, bit in enumerate(cls.flag_bits[:count]))

    @classmethod
    def flushing_of(cls, environment: int) -> int:
        """Which flushing to zero a control register's value asks for, as `ir.fp` numbers it."""
        return sum((environment >> bit & 1) << n for n, bit in enumerate(cls.flushing_bits))

    @classmethod
    def with_flags(cls, environment: int, flags: int) -> int:
        """A control register's value with these generic flags."""
        for n, bit in enumerate(cls.flag_bits):
            environment = environment & ~(1 << bit) | (flags >> n & 1) << bit
        return environment


def current() -> type[Host]:
    """The host that this process runs on. Raises `BimetalError` if it is not described here."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BimetalError(
            f"the jit does not know the floating-point environment of {platform.machine()} hosts",
            "run on an x86-64 host, or describe this one in codegen/host.py",
        )
    return Host
