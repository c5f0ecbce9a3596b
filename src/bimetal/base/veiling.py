"""Records with secrets in them, as tracebacks, logs and failing tests show them: without these."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["veiled"]


def veiled(record: Struct, *secrets: str) -> str:
    """The usual representation of a ``record``, but that of the fields called ``secrets`` only
    whether there is something in them."""
    shown = []
    for name in record.__struct_fields__:
        value = getattr(record, name)
        shown.append(f"{name}={'...' if value and name in secrets else repr(value)}")
    return f"{type(record).__name__}({', '.join(shown)})"
