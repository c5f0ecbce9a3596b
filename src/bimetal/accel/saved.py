"""The saved state of a vCPU as plain values, the same for all our own accelerators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import asdict

from ..codegen.layout import REPLAYS
from ..isa.describe import Isa
from ..isa.state import File

__all__ = ["Saved"]

FLAGS = 6
"""Width in bits of the floating-point flags (`ir.fp`)."""

WORD = (1 << 64) - 1


class Saved(Struct, frozen=True):
    """A vCPU's state: ``registers`` by file, the sticky floating-point ``flags``, how many
    instructions have ``retired``, the ``answers`` of the board to the current instruction, whether
    the last one was a ``fault``, and whether an interrupt is ``waited`` for. ``jitter`` is the
    state of the generator that varies budgets."""

    registers: dict[str, list[int]]
    flags: int = 0
    retired: int = 0
    answers: list[int] = field(default_factory=list)
    fault: bool = False
    waited: bool = False
    jitter: int = 0

    def plain(self) -> dict[str, object]:
        """The state as `Cpu.save` returns it."""
        return asdict(self)

    @classmethod
    def read(cls, isa: Isa, state: Mapping[str, object]) -> Saved:
        """The inverse of `plain` for a vCPU of ``isa``, with values checked as by
        `Cpu.write_register`. Raises ValueError if ``state`` is not such a state."""
        try:
            return cls(
                _registers(isa, state["registers"]),
                _number(state["flags"], FLAGS),
                _number(state["retired"]),
                [_number(answer) for answer in _list(state["answers"], REPLAYS)],
                bool(_number(state["fault"], 1)),
                bool(_number(state["waited"], 1)),
                _number(state["jitter"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not the state of a {isa.name} vCPU: {error!r}") from error


def _registers(isa: Isa, registers: object) -> dict[str, list[int]]:
    files = isa.state.saved
    if not isinstance(registers, Mapping):
        raise ValueError("no registers")
    older = {name: [value] * files[name].count for name, value in isa.state.younger.items()}
    registers = older | {**registers}
    if registers.keys() != files.keys():
        raise ValueError("other registers")
    return {name: _file(file, registers[name]) for name, file in files.items()}


def _file(file: File, values: object) -> list[int]:
    listed = _list(values, file.count)
    if len(listed) != file.count:
        raise ValueError(f"{len(listed)} registers of {file.count} in {file.name}")
    return [file.admit(_number(value, file.width)) for value in listed]


def _list(values: object, most: int) -> Sequence[object]:
    if not isinstance(values, list | tuple) or len(values) > most:
        raise ValueError(f"not a list of at most {most} values")
    return values


def _number(value: object, bits: int = 64) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise ValueError(f"{value!r} is not a number of {bits} bits")
    return value
