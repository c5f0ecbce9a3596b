"""How bytes in memory become instruction words: scans, decode modes, features of models.

The *scan* of an instruction set makes of the bytes at an address, first byte lowest, the *word*
that its encodings are rows of, and tells how many of the bytes are the instruction. Where words
stand in memory as they are, there is nothing to do; elsewhere the scan swaps bytes, or takes
prefixes and optional parts apart and puts them where the rows expect them. It is traced, like
descriptions, so the decoder in native code, the reference and the disassembler share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.value import Value, const, pure

__all__ = ["USUAL", "DecodeMode", "Decoding", "Landing", "Scan", "whole_words"]

Scan = Callable[[Value, Value], tuple[Value, Value]]
"""Bytes and the number of a decode mode (8 bits) to a word and the instruction's length in bytes
(8 bits). Of bytes that are not there yet it is given zeros: so a length must not be more than what
is there unless a byte that is missing matters."""


@dataclass(frozen=True, slots=True)
class DecodeMode:
    """A mode in which the same bytes may be other instructions. The program counter has ``pc_bits``
    bits, 12 at least, and begins again at 0 behind the last address. One that is ``guarded`` stands
    behind another, in whose place it is for guarded pages (`Landing`)."""

    name: str = ""
    pc_bits: int = 64
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Landing:
    """Where indirect jumps into guarded pages may lead: Arm's BTI, Intel's IBT.

    Jumps have a kind (`effects.Jump`), which the ``register`` holds from then until the instruction
    that they lead to, and is 0 anywhere else; it is written where somebody could look in between.
    ``admits`` is asked about an instruction's bytes (`Isa.fetch` of them, the first one lowest) and
    a kind, 8 bits. What it refuses, `Hooks.landed` may still let pass.
    """

    register: str
    admits: Callable[[Value, Value], Value]


@dataclass(frozen=True, slots=True)
class Decoding:
    """What the meaning of code depends on besides its bytes: the number of the decode mode, and the
    features that the processor's model has, a bit for each of `Isa.features`."""

    mode: int = 0
    features: int = -1


USUAL = Decoding()
"""The first mode, and every feature."""


def whole_words(size: int, order: str) -> Scan:
    """The scan of words of ``size`` bytes in one byte order, "little" or "big"."""

    def scan(raw: Value, mode: Value) -> tuple[Value, Value]:
        return (raw if order == "little" else pure("bswap", raw)), const(size, 8)

    return scan
