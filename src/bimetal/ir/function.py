"""Blocks of pure operations as functions of Python.

What is evaluated again and again, as the scan of instructions is for each that is decoded, costs a
hundredth of the time that tracing it with constants takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .ops import OPS
from .value import Block, Value

__all__ = ["function_of"]

_TEXTS: Mapping[str, str] = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in (("and", "&"), ("or", "|"), ("xor", "^"))},
    **{op: f"{{0}} {sign} {{1}} & {{mask}}" for op, sign in (("add", "+"), ("sub", "-"))},
    "shl": "{0} << {1} & {mask}", "lsr": "{0} >> {1}",
    "trunc": "{0} & {mask}", "zext": "{0}", "select": "{1} if {0} else {2}",
    **{op: f"{{0}} {sign} {{1}}"
       for op, sign in (("eq", "=="), ("ne", "!="), ("ult", "<"), ("ule", "<="))},
}  # fmt: skip
"""Operations that Python has itself; truth stands for a bit. All others are those of the table."""


def function_of(
    block: Block, parameters: Sequence[str], results: Sequence[Value]
) -> Callable[..., tuple[int, ...]]:
    """The results of a block as a function of its fields, in the order of ``parameters``; numbers
    are not negative. Raises KeyError if it has an operation that is not pure."""
    names: dict[Value, str] = {}

    def name(value: Value) -> str:
        if value.op == "const":
            return str(value.attr)
        return str(value.attr) if value.op == "field" else names[value]

    lines = [f"def function({', '.join(parameters)}):"]
    for number, value in enumerate(block):
        mask, operands = (1 << value.width) - 1, [name(arg) for arg in value.args]
        text = _TEXTS.get(value.op)
        if text is None:
            if value.op not in OPS:
                raise KeyError(value.op)
            given = ", ".join((str(value.args[0].width), *operands))
            text = f"OPS[{value.op!r}].evaluate({given}) & {{mask}}"
        names[value] = f"_{number}"
        lines.append(f" _{number} = {text.format(*operands, mask=mask)}")
    lines.append(f" return {', '.join(f'int({name(result)})' for result in results)},")
    made: dict[str, Callable[..., tuple[int, ...]]] = {}
    exec("\n".join(lines), {"OPS": OPS}, made)
    return made["function"]
