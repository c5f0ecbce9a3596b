"""How bytes in memory become instruction words: scans, decode modes, features of models.

The *scan* of an instruction set turns the bytes at an address (first byte lowest) into the *word*
in which its encodings are rows of bits, and the instruction's length. For words in the host's byte
order there is nothing to do; otherwise the scan swaps bytes, or takes prefixes and optional parts
apart and puts them where the rows expect them. It is traced like descriptions, so the decoder in
native code, the reference and the disassembler share it.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..ir.value import Value, const, pure

__all__ = ["USUAL", "DecodeMode", "Decoding", "Landing", "Scan", "whole_words"]

Scan = Callable[[Value, Value], tuple[Value, Value]]
"""From bytes and the number of a decode mode (8 bits) to a word and the instruction's length in
bytes (8 bits). Bytes that have not been fetched yet are zeros, so the length may exceed what has
been fetched only if a missing byte matters."""


class DecodeMode(Struct, frozen=True):
    """A mode in which the same bytes may be other instructions. The program counter has ``pc_bits``
    bits, at least 12, and wraps to 0 after the last address. A ``guarded`` mode follows another one
    in the list and replaces it in guarded pages (`Landing`)."""

    name: str = ""
    pc_bits: int = 64
    guarded: bool = False


class Landing(Struct, frozen=True):
    """Where indirect jumps into guarded pages may lead: Arm's BTI, Intel's IBT.

    Jumps have a kind (`effects.Jump`), which ``register`` holds from the jump until its target has
    executed; otherwise it is 0. It is actually written only where it could be seen in between.
    ``admits`` says whether an instruction, given by its bytes (`Isa.fetch` of them, first byte
    lowest), may be the target of a jump of a kind (8 bits). What it refuses, `Hooks.landed` may
    still allow.
    """

    register: str
    admits: Callable[[Value, Value], Value]


class Decoding(Struct, frozen=True):
    """What decoding depends on besides the bytes: the number of the decode mode, and the features
    of the processor's model, a bit for each of `Isa.features`."""

    mode: int = 0
    features: int = -1


USUAL = Decoding()
"""The first mode and all features."""


def whole_words(size: int, order: str) -> Scan:
    """The scan for words of ``size`` bytes in a byte order, "little" or "big"."""

    def scan(raw: Value, mode: Value) -> tuple[Value, Value]:
        return (raw if order == "little" else pure("bswap", raw)), const(size, 8)

    return scan
