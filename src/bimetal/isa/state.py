"""Register files: the architectural state that descriptions read and write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

__all__ = ["Admission", "File", "RegisterStore", "StateSpec"]


class RegisterStore(Protocol):
    """The registers of a vCPU, wherever an accelerator keeps them."""

    def get(self, file: str, index: int = 0) -> int:
        """A register's value."""

    def set(self, file: str, index: int, value: int) -> None:
        """Set a register."""


Admission = Callable[[Callable[[str, int], int], int, int], int]
"""What a register holds once a program outside has written a value to it, from a function that
reads a register (file and index), its index, and the value. Raises ValueError, with a text that
says why, if no processor can hold the value now."""


class File(Struct, frozen=True):
    """``count`` registers of ``width`` bits. A scalar is a file of one.

    ``zero`` is the index that always reads as zero and ignores writes. ``names`` are the registers'
    names for users; ``doc`` is one line with the manual's section; ``floating`` says that the
    registers mostly hold doubles.

    ``internal`` registers belong to the engine and are hidden from users. ``fixed`` ones are set at
    reset, by what the processor's model is, and are not saved. ``bits`` is the mask of
    bits that a write can set, all others stay 0; ``legal`` says which values of them are valid.
    """

    name: str
    count: int
    width: int
    zero: int | None = None
    names: tuple[str, ...] = ()
    doc: str = ""
    floating: bool = False
    bits: int = -1
    legal: Callable[[int], bool] | None = None
    internal: bool = False
    fixed: bool = False

    def admit(self, value: int) -> int:
        """What a register holds once ``value`` is written to it from outside.

        Raises OverflowError for a value that does not fit and ValueError for an invalid one: native
        code relies on both.
        """
        if not 0 <= value < 1 << self.width:
            raise OverflowError(f"{value:#x} does not fit in {self.name} of {self.width} bits")
        kept = value & self.bits
        if self.legal is not None and not self.legal(kept):
            raise ValueError(f"{value:#x} means nothing in {self.name}")
        return kept

    @property
    def slots(self) -> int:
        """Storage slots: a file with a zero register has one more, for the writes that are lost."""
        return self.count + (self.zero is not None)


class StateSpec(Struct):
    """All register files of an ISA, in the order of declaration. Those in ``younger`` were declared
    when snapshots without them were already kept: what each of their registers is there.
    ``admissions``, by file or view, are for writes from outside where `File.admit` does not know
    enough."""

    files: dict[str, File] = field(default_factory=dict)
    younger: dict[str, int] = field(default_factory=dict)
    admissions: dict[str, Admission] = field(default_factory=dict)

    def file(
        self,
        name: str,
        count: int,
        width: int,
        zero: int | None = None,
        names: Sequence[str] = (),
        doc: str = "",
        floating: bool = False,
        bits: int = -1,
        legal: Callable[[int], bool] | None = None,
        internal: bool = False,
        fixed: bool = False,
    ) -> File:
        """Declare a register file."""
        if name in self.files:
            raise ValueError(f"register file {name} is declared twice")
        self.files[name] = File(
            name, count, width, zero, tuple(names), doc, floating, bits, legal, internal, fixed
        )
        return self.files[name]

    def constrain(
        self, name: str, bits: int = -1, legal: Callable[[int], bool] | None = None
    ) -> None:
        """Set ``bits`` and ``legal`` of a file that is already declared."""
        self.files[name] = replace(self.files[name], bits=bits, legal=legal)

    def scalars(
        self,
        width: int,
        *names: str,
        bits: int = -1,
        legal: Callable[[int], bool] | None = None,
        internal: bool = False,
    ) -> None:
        """Declare single registers of ``width`` bits."""
        for name in names:
            shown = () if internal else (name,)
            self.file(name, 1, width, names=shown, bits=bits, legal=legal, internal=internal)

    def admission(self, *names: str) -> Callable[[Admission], Admission]:
        """Describe what these files, or views, admit from outside."""

        def register(admit: Admission) -> Admission:
            self.admissions |= dict.fromkeys(names, admit)
            return admit

        return register

    @property
    def saved(self) -> dict[str, File]:
        """The files that are part of a vCPU's state when it is saved."""
        return {name: file for name, file in self.files.items() if not file.fixed}

    def register_names(self) -> list[str]:
        """Every register that a person can name."""
        return [name for file in self.files.values() for name in file.names]

    def locate(self, name: str) -> tuple[File, int]:
        """The file and index of a register by any of its names, ``x5`` style included."""
        for file in self.files.values():
            if name in file.names:
                return file, file.names.index(name)
        for file in self.files.values():
            number = name.removeprefix(file.name)
            named = number != name and number.isdecimal() and not file.internal
            if file.count > 1 and named and int(number) < file.count:
                return file, int(number)
        raise KeyError(name)
