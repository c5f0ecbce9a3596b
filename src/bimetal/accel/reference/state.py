"""Registers as Python integers."""

from __future__ import annotations

from ...isa.state import StateSpec

__all__ = ["Registers"]


class Registers:
    """The register files of an ISA."""

    def __init__(self, spec: StateSpec):
        self.spec = spec
        self.files: dict[str, list[int]] = {}
        self.reset()

    def reset(self) -> None:
        """Set every register to zero."""
        self.files = {f.name: [0] * f.count for f in self.spec.files.values()}

    def get(self, file: str, index: int = 0) -> int:
        """Register ``index`` of a file."""
        return self.files[file][index]

    def set(self, file: str, index: int, value: int) -> None:
        """Write a register; a write to the zero register is lost."""
        if index != self.spec.files[file].zero:
            self.files[file][index] = value

    def read(self, name: str) -> int:
        """A register by name; KeyError if there is none."""
        file, index = self.spec.locate(name)
        return self.get(file.name, index)

    def write(self, name: str, value: int) -> None:
        """Set a register by name, as `File.admit` says."""
        file, index = self.spec.locate(name)
        self.set(file.name, index, file.admit(value))
