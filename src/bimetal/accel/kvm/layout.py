"""C structures of the kernel's interface as named fields over a bytearray.

A layout is written as ``"slot:I flags:I base:Q"``: a name and a letter of `struct`, or ``name:12s``
for 12 bytes. Fields follow each other without invisible padding, as the kernel's structures are
designed; where one has padding, it is written as a field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["Layout"]


class Layout:
    """One structure: `new` makes a zeroed buffer, `get` and `put` reach its fields by name."""

    def __init__(self, text: str):
        self._fields: dict[str, tuple[int, struct.Struct]] = {}
        offset = 0
        for item in text.split():
            name, _, code = item.partition(":")
            if name in self._fields:
                raise ValueError(f"field {name!r} is declared twice")
            field = struct.Struct(f"<{code}")
            self._fields[name] = (offset, field)
            offset += field.size
        self.size = offset

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def new(self, **values: int) -> bytearray:
        """A buffer of zeros, then ``values`` put into it."""
        buffer = bytearray(self.size)
        for name, value in values.items():
            self.put(buffer, name, value)
        return buffer

    def get(self, buffer: bytes | bytearray, name: str) -> int:
        """The unsigned integer in field ``name``."""
        offset, field = self._fields[name]
        value = field.unpack_from(buffer, offset)[0]
        return int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)

    def put(self, buffer: bytearray, name: str, value: int) -> None:
        """Set field ``name``; OverflowError if ``value`` does not fit."""
        offset, field = self._fields[name]
        if value < 0 or value >> 8 * field.size:
            raise OverflowError(f"{value:#x} does not fit the {8 * field.size} bits of {name}")
        buffer[offset : offset + field.size] = value.to_bytes(field.size, "little")

    def offset(self, name: str) -> int:
        """Bytes from the start of the structure to field ``name``."""
        return self._fields[name][0]
