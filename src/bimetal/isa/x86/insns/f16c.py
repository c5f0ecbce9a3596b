"""F16C: conversions between half and single precision."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir import fp
from ....ir.softfloat import HALF
from ....ir.value import Value, const
from ...trace import Cpu, slowly
from ..numbers import subnormal
from ..operands import pinned_memory
from ..simd import Encoding, Form, encode_all, read_parts, read_source, store_parts, write_parts
from ..vector_state import MODES, exactly, set_rounding


def _from_halves(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
    form.ready(cpu, numbers=True)
    width = form.width // 2
    (source,) = read_source(cpu, fields, form, width, aligned=False)
    halves = [source[64 * n + 63 : 64 * n] for n in range(width // 64)]
    parts = exactly(cpu, lambda: [fp.convert(half, 32, 16, first_nan=True) for half in halves])
    write_parts(cpu, fields["reg"], parts, form)


def _to_halves(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
    """In the mode of the immediate, or MXCSR's if its bit 2 says so."""
    form.ready(cpu, numbers=True)
    imm = fields["imm"]
    source = read_parts(cpu, fields["reg"], form)
    own = imm[2] == 0
    mode = (const(MODES, 32).lsr(imm[1:0].zext(32) << 1) & 3).trunc(3)

    def convert() -> list[Value]:
        with slowly(own):
            fp.set_rounding(mode)
        results = [fp.convert(part, 16, 32, first_nan=True) for part in source]
        with slowly(own):
            set_rounding(cpu)
        return results

    halves = exactly(cpu, convert, subnormal(HALF))
    whole = halves[0] if len(halves) == 1 else halves[0].zext(128) | halves[1].zext(128) << 64
    if pinned_memory(fields):
        store_parts(cpu, fields, [whole])
    else:
        write_parts(cpu, fields["rm"], [whole], Form(128, vex=True))


for _avx, _avx2, _narrow in (("f16c", "", "Wq"), ("", "f16c", "Wdq")):
    encode_all(
        Encoding("cvtph2ps", "66", "0f38 13 /r", f"V@ {_narrow}", third=False, w="w0"),
        _from_halves, avx=_avx, avx2=_avx2, restartable=True,
    )  # fmt: skip
    encode_all(
        Encoding("cvtps2ph", "66", "0f3a 1d /r ib", f"{_narrow} V@ Ib", third=False, w="w0"),
        _to_halves, avx=_avx, avx2=_avx2, restartable=True,
    )  # fmt: skip
