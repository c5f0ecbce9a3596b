"""Complex numbers (FEAT_FCMA): pairs of lanes, real part first, rotated by multiples of 90°."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ....ir.vector import choose, element, join, shuffle, splat
from ...trace import Cpu
from ..fp import Numbers, write
from ..fp_encodings import SHAPES, Shape, text_of
from ..fp_ops import ARITHMETIC, fused
from ..state import a64

SIZES = {16: "01", 32: "10", 64: "11"}
TURNS = ("#90", "#270")
PLACES = {"4h": ("index:1", "0"), "8h": ("index[0]", "index[1]"), "4s": ("0", "index:1")}
"""Where the number of a pair stands."""


def _each_pair(numbers: Numbers, real: int, imaginary: int) -> Value:
    return const(join([real, imaginary] * (numbers.count // 2), numbers.lane), numbers.width)


def _swapped(numbers: Numbers, value: Value) -> Value:
    return shuffle(numbers.lane, [n ^ 1 for n in range(numbers.count)], value)


def _add(shape: Shape, rotation: int) -> None:
    """FCADD: the second operand times i, or -i."""
    numbers, size = shape.numbers, SIZES[shape.form.width]
    sign = numbers.format.sign

    @a64.insn(
        f"0 {shape.q} 1 01110 {size} 0 Rm:5 111 {rotation} 0 1 Rn:5 Rd:5",
        f"{text_of('fcadd', shape.arrangement, 'Rd', 'Rn', 'Rm')}, {TURNS[rotation]}",
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        signs = _each_pair(numbers, *((0, sign) if rotation else (sign, 0)))
        turned = _swapped(numbers, numbers.read(cpu, Rm)) ^ signs
        write(cpu, Rd, ARITHMETIC["fadd"](cpu, numbers, numbers.read(cpu, Rn), turned))


def _multiplied(
    cpu: Cpu, numbers: Numbers, rot: Value, registers: tuple[Value, Value], factor: Value
) -> None:
    """Half of a complex multiply-add: the real or the imaginary part of Rn times the factor,
    rotated by ``rot`` times 90 degrees."""
    Rd, Rn = registers
    sign = numbers.format.sign
    odd = select(rot[0] == 1, const(-1, numbers.width), 0)
    a = numbers.read(cpu, Rn)
    pairs = range(0, numbers.count, 2)
    parts = [shuffle(numbers.lane, [n + k for n in pairs for _ in "ri"], a) for k in (0, 1)]
    chosen = choose(odd, parts[1], parts[0])
    turned = choose(odd, _swapped(numbers, factor), factor)
    real = select((rot[0] ^ rot[1]) == 1, _each_pair(numbers, sign, 0), 0)
    imaginary = select(rot[1] == 1, _each_pair(numbers, 0, sign), 0)
    turned = turned ^ real ^ imaginary
    write(cpu, Rd, fused(cpu, numbers, numbers.read(cpu, Rd), chosen, turned))


def _multiply(shape: Shape) -> None:
    numbers, size = shape.numbers, SIZES[shape.form.width]

    @a64.insn(
        f"0 {shape.q} 1 01110 {size} 0 Rm:5 110 rot:2 1 Rn:5 Rd:5",
        f"{text_of('fcmla', shape.arrangement, 'Rd', 'Rn', 'Rm')}, {{rot:quarters}}",
    )
    def fcmla(cpu: Cpu, Rm: Value, rot: Value, Rn: Value, Rd: Value) -> None:
        _multiplied(cpu, numbers, rot, (Rd, Rn), numbers.read(cpu, Rm))


def _by_element(shape: Shape) -> None:
    numbers, form = shape.numbers, shape.form
    before, after = PLACES[shape.arrangement]
    size = SIZES[form.width]

    @a64.insn(
        f"0 {shape.q} 1 01111 {size} {before} Rm:5 0 rot:2 1 {after} 0 Rn:5 Rd:5",
        f"{text_of('fcmla', shape.arrangement, 'Rd', 'Rn')}, "
        f"{{Rm:v}}.{form.letter}[{{index:u}}], {{rot:quarters}}",
    )
    def fcmla(cpu: Cpu, index: Value, Rm: Value, rot: Value, Rn: Value, Rd: Value) -> None:
        pair = element(cpu.v[Rm], 2 * form.width, index.zext(32))
        factor = splat(pair, numbers.count // 2)
        _multiplied(cpu, numbers, rot, (Rd, Rn), factor)


for _shape in SHAPES:
    for _rotation in (0, 1):
        _add(_shape, _rotation)
    _multiply(_shape)
    if _shape.arrangement in PLACES:
        _by_element(_shape)
