"""Describing an instruction by its row as the manual writes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps

from ...ir.value import Value, const
from .fields import FIELDS, literal_fields, opcode_row
from .state import x86

__all__ = ["insn"]

_NAMED_BY_VEX = re.compile(r"\{:[BH]")
"""Operands that are registers named by the prefix."""
Meaning = Callable[..., None]
Where = Callable[..., Value | bool]


def insn(
    row: str,
    text: str,
    *,
    where: Where | None = None,
    name: str = "",
    restartable: bool = False,
    extension: str = "",
) -> Callable[[Meaning], Meaning]:
    """Describe an instruction (see `Isa.insn`). Its meaning gets all of `FIELDS` by name, those
    that the row says as constants; so does ``where``, as integers."""
    if row.startswith("vex.") and not _NAMED_BY_VEX.search(text):
        row += " vvvv"
    said = literal_fields(row)

    def register(meaning: Meaning) -> Meaning:
        @wraps(meaning)
        def whole(cpu: object, **fields: Value) -> None:
            constants = {each: const(value, FIELDS[each]) for each, value in said.items()}
            meaning(cpu, **constants, **fields)

        def belongs(**fields: Value) -> Value | bool:
            everything = said | fields
            there = _can_be(everything)
            return there if where is None else there & where(**everything)

        x86.insn(
            opcode_row(row), text, where=belongs, name=name, extension=extension,
            restartable=restartable,
        )(whole)  # fmt: skip
        return meaning

    return register


def _can_be(fields: Mapping[str, Value | int]) -> Value | bool:
    """Whether the scan makes such a combination: there are three sizes, 64 bits in 64-bit mode
    alone, and that has no segments."""
    size, long, plain = (fields[name] for name in ("osize", "long", "plain"))
    small = size != 2
    return (
        (size != 3) & (small | (long == 1)) & (small | (plain == 1)) & ((long == 0) | (plain == 1))
    )
