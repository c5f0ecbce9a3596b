"""C: compressed instructions (volume I, chapter 26), each another form of a 32-bit instruction.

Fields are named for the operands that they stand for: ``rd_rs1`` is both rd and rs1, a final c
marks a register from x8 to x15 (rd' in the manual), and ``uimm`` is an immediate that is not
signed. What the manual calls HINTs writes x0 or changes nothing, so it needs no words here;
reserved encodings have no description. The halfword of zeros is illegal for that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ....ir.value import Value, const
from ...trace import Cpu
from ..state import rv64

Operand = Value | int

ZERO, RA, SP = 0, 1, 2
NONE = const(0, 12)


def _operands(fields: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    """The operands of the 32-bit form."""
    for name, value in fields.items():
        if name == "uimm":
            yield "imm", value.zext(12)
        elif name.endswith("c"):
            yield from ((operand, value.zext(5) | 8) for operand in name[:-1].split("_"))
        else:
            yield from ((operand, value) for operand in name.split("_"))


def _nonzero(*names: str) -> Callable[..., Value | bool]:
    """Whether fields are not zero."""

    def where(**fields: Operand) -> Value | bool:
        result: Value | bool = True
        for name in names:
            result = (fields[name] != 0) & result
        return result

    return where


def _expands(
    row: str,
    text: str,
    form: str,
    where: Callable[..., Value | bool] | None = None,
    **implied: Operand,
) -> None:
    """Describe ``row`` as the instruction ``form``, whose other operands are ``implied``."""

    @rv64.insn(row, text, where=where)
    def meaning(cpu: Cpu, **fields: Value) -> None:
        rv64.meaning(form)(cpu, **dict(_operands(fields)), **implied)


# Quadrant 0: loads and stores, and addresses of stack slots.
_expands(
    "000 uimm[5:4|9:6|2|3] rdc:3 00", "c.addi4spn {rdc:xc}, sp, {uimm}", "addi",
    _nonzero("uimm"), rs1=SP,
)  # fmt: skip
for _row, _text, _form in (
    ("001 uimm[5:3] rs1c:3 uimm[7:6] rdc:3 00", "c.fld {rdc:fc}, {uimm}({rs1c:xc})", "fld"),
    ("010 uimm[5:3] rs1c:3 uimm[2|6] rdc:3 00", "c.lw {rdc:xc}, {uimm}({rs1c:xc})", "lw"),
    ("011 uimm[5:3] rs1c:3 uimm[7:6] rdc:3 00", "c.ld {rdc:xc}, {uimm}({rs1c:xc})", "ld"),
    ("101 uimm[5:3] rs1c:3 uimm[7:6] rs2c:3 00", "c.fsd {rs2c:fc}, {uimm}({rs1c:xc})", "fsd"),
    ("110 uimm[5:3] rs1c:3 uimm[2|6] rs2c:3 00", "c.sw {rs2c:xc}, {uimm}({rs1c:xc})", "sw"),
    ("111 uimm[5:3] rs1c:3 uimm[7:6] rs2c:3 00", "c.sd {rs2c:xc}, {uimm}({rs1c:xc})", "sd"),
):
    _expands(_row, _text, _form)

# Quadrant 1: immediates, arithmetic, jumps.
_expands("000 0 00000 00000 01", "c.nop", "addi", imm=NONE, rs1=ZERO, rd=ZERO)
_expands(
    "000 imm[5] 00000 imm[4:0] 01", "c.nop {imm:s}", "addi", _nonzero("imm"), rs1=ZERO, rd=ZERO
)
_expands(
    "000 imm[5] rd_rs1:5 imm[4:0] 01", "c.addi {rd_rs1:x}, {imm:s}", "addi", _nonzero("rd_rs1")
)
_expands(
    "001 imm[5] rd_rs1:5 imm[4:0] 01", "c.addiw {rd_rs1:x}, {imm:s}", "addiw", _nonzero("rd_rs1")
)
_expands("010 imm[5] rd:5 imm[4:0] 01", "c.li {rd:x}, {imm:s}", "addi", rs1=ZERO)
_expands(
    "011 imm[9] 00010 imm[4|6|8:7|5] 01", "c.addi16sp sp, {imm:s}", "addi",
    _nonzero("imm"), rs1=SP, rd=SP,
)  # fmt: skip
_expands(
    "011 imm[17] rd:5 imm[16:12] 01", "c.lui {rd:x}, {imm:upper}", "lui",
    lambda imm, rd: (imm != 0) & (rd != SP),
)  # fmt: skip
_expands("100 shamt[5] 00 rd_rs1c:3 shamt[4:0] 01", "c.srli {rd_rs1c:xc}, {shamt}", "srli")
_expands("100 shamt[5] 01 rd_rs1c:3 shamt[4:0] 01", "c.srai {rd_rs1c:xc}, {shamt}", "srai")
_expands("100 imm[5] 10 rd_rs1c:3 imm[4:0] 01", "c.andi {rd_rs1c:xc}, {imm:s}", "andi")
for _funct6, _funct2, _form in (
    ("100011", "00", "sub"),
    ("100011", "01", "xor"),
    ("100011", "10", "or"),
    ("100011", "11", "and"),
    ("100111", "00", "subw"),
    ("100111", "01", "addw"),
):
    _expands(
        f"{_funct6} rd_rs1c:3 {_funct2} rs2c:3 01", f"c.{_form} {{rd_rs1c:xc}}, {{rs2c:xc}}", _form
    )
_expands("101 imm[11|4|9:8|10|6|7|3:1|5] 01", "c.j {imm:rel}", "jal", rd=ZERO)
for _funct3, _form in (("110", "beq"), ("111", "bne")):
    _expands(
        f"{_funct3} imm[8|4:3] rs1c:3 imm[7:6|2:1|5] 01",
        f"c.{_form}z {{rs1c:xc}}, {{imm:rel}}", _form, rs2=ZERO,
    )  # fmt: skip

# Quadrant 2: stack slots, moves, jumps to registers.
_expands("000 shamt[5] rd_rs1:5 shamt[4:0] 10", "c.slli {rd_rs1:x}, {shamt}", "slli")
_expands(
    "010 uimm[5] rd:5 uimm[4:2|7:6] 10", "c.lwsp {rd:x}, {uimm}(sp)", "lw", _nonzero("rd"), rs1=SP
)
_expands(
    "011 uimm[5] rd:5 uimm[4:3|8:6] 10", "c.ldsp {rd:x}, {uimm}(sp)", "ld", _nonzero("rd"), rs1=SP
)
for _row, _text, _form in (
    ("001 uimm[5] rd:5 uimm[4:3|8:6] 10", "c.fldsp {rd:f}, {uimm}(sp)", "fld"),
    ("101 uimm[5:3|8:6] rs2:5 10", "c.fsdsp {rs2:f}, {uimm}(sp)", "fsd"),
    ("110 uimm[5:2|7:6] rs2:5 10", "c.swsp {rs2:x}, {uimm}(sp)", "sw"),
    ("111 uimm[5:3|8:6] rs2:5 10", "c.sdsp {rs2:x}, {uimm}(sp)", "sd"),
):
    _expands(_row, _text, _form, rs1=SP)
_expands("100 0 rs1:5 00000 10", "c.jr {rs1:x}", "jalr", _nonzero("rs1"), imm=NONE, rd=ZERO)
_expands("100 1 rs1:5 00000 10", "c.jalr {rs1:x}", "jalr", _nonzero("rs1"), imm=NONE, rd=RA)
_expands("100 0 rd:5 rs2:5 10", "c.mv {rd:x}, {rs2:x}", "add", _nonzero("rs2"), rs1=ZERO)
_expands("100 1 rd_rs1:5 rs2:5 10", "c.add {rd_rs1:x}, {rs2:x}", "add", _nonzero("rs2"))
_expands("100 1 00000 00000 10", "c.ebreak", "ebreak")
