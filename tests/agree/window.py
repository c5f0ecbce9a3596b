"""The memory of a state, as descriptions that are evaluated see it."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.access import Access

from .state import DATA

__all__ = ["Window"]


class Window:
    """The bytes at `DATA`. An access to anything else, or one that is not aligned where it has to
    be, is refused: an instruction set says how."""

    def __init__(self, content: bytes):
        self.bytes = bytearray(content)

    def refuse(self, address: int, outside: bool) -> None:
        """Raise the trap for an access ``outside``, or else for one that is not aligned."""
        raise NotImplementedError

    def _place(self, address: int, access: Access) -> slice:
        if access.aligned and address % access.size:
            self.refuse(address, outside=False)
        if not DATA <= address <= DATA + len(self.bytes) - access.size:
            self.refuse(address, outside=True)
        return slice(address - DATA, address - DATA + access.size)

    def load(self, address: int, access: Access) -> int:
        """See `GuestMemory`."""
        return int.from_bytes(self.bytes[self._place(address, access)], "little")

    def store(self, address: int, value: int, access: Access) -> None:
        """See `GuestMemory`."""
        self.bytes[self._place(address, access)] = value.to_bytes(access.size, "little")

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        """See `GuestMemory`."""
        old = self.load(address, access)
        self.store(address, change(old), access)
        return old
