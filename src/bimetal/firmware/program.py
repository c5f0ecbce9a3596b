"""Programs ready to be put into guest memory, whatever file they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size
from bimetal.memory.space import AddressSpace, BadAddress

__all__ = ["Program", "Segment", "read_file"]

ZEROES = bytes(1 << 20)


@dataclass(frozen=True)
class Segment:
    """``data`` at the guest-physical ``address``, zeroes behind it up to ``size`` bytes."""

    address: int
    data: bytes | memoryview
    size: int

    @property
    def end(self) -> int:
        """The first address behind the segment."""
        return self.address + self.size


@dataclass(frozen=True)
class Program:
    """What is loaded before a guest runs; ``name`` is what the user called it."""

    name: str
    segments: tuple[Segment, ...]
    entry: int

    @property
    def start(self) -> int:
        """The lowest address."""
        return min(segment.address for segment in self.segments)

    @property
    def end(self) -> int:
        """The first address behind the program, with what it uses uninitialised."""
        return max(segment.end for segment in self.segments)

    def load(self, space: AddressSpace) -> None:
        """Put the program into memory. Raises `BimetalError` if there is none for it."""
        for segment in self.segments:
            try:
                with space.view(segment.address, segment.size) as view:
                    view[: len(segment.data)] = segment.data
                    for start in range(len(segment.data), segment.size, len(ZEROES)):
                        view[start : start + len(ZEROES)] = ZEROES[: segment.size - start]
            except BadAddress as error:
                raise BimetalError(
                    f"{self.name} needs {format_size(segment.size)} of memory at "
                    f"{segment.address:#x}, and the machine has none there",
                    "give the machine more memory, or a program that was linked for this board",
                    ExitCode.DATA,
                ) from error


def read_file(path: str, what: str) -> bytes:
    """The contents of ``path``. Raises `BimetalError` that calls it ``what``, as in "kernel"."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BimetalError(
            f"the {what} {path} cannot be read: {error.strerror}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error
    if not data:
        raise BimetalError(f"the {what} {path} is empty", "get the file anew", ExitCode.DATA)
    return data
