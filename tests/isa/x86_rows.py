"""Opcode rows in the words of Intel's manual, as an `Encoding`: the sketch of x86's decoder.

``"83 /0 ib"`` is an opcode byte, a ModRM byte whose middle field extends it, and an immediate
byte; ``/r`` is a ModRM byte with a register in the middle; ``70+cc`` has a condition in its low
bits. Prefixes stand before all of that: 66 (``narrow``), F2 and F3 (``rep``), and REX. An operand
in memory is ``base + (index << scale) + disp``, where register 16 is none and 17 is rip.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["NONE", "RIP", "OpcodeRow"]

NONE, RIP = 16, 17
_SIZES = {"ib": 1, "iz": 4, "cb": 1}


class _Bytes:
    """The bytes of a word, one after the other."""

    def __init__(self, word: int):
        self.word, self.taken = word, 0

    def peek(self) -> int:
        return self.word >> 8 * self.taken & 0xFF

    def take(self, size: int = 1) -> int:
        value = self.word >> 8 * self.taken & ((1 << 8 * size) - 1)
        self.taken += size
        return value

    def take_signed(self, size: int) -> int:
        """A signed number as a field of 64 bits."""
        value = self.take(size)
        return (value - (value >> (8 * size - 1) << 8 * size)) & ((1 << 64) - 1)


def _fits(value: int, size: int) -> bool:
    return -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1)


def _signed64(value: int) -> int:
    return value - (value >> 63 << 64)


class OpcodeRow:
    """One encoding. Its word is the instruction's bytes, the first one lowest."""

    width = 15 * 8
    mask = match = 0  # what is literal moves with the prefixes

    def __init__(self, row: str):
        self.opcode: list[int] = []
        self.condition = self.modrm = False
        self.digit: int | None = None
        self.tail = 0
        for token in row.split():
            if token.startswith("/"):
                self.modrm = True
                self.digit = None if token == "/r" else int(token[1])
            elif token in _SIZES:
                self.tail = _SIZES[token]
            else:
                self.condition = token.endswith("+cc")
                self.opcode.append(int(token.removesuffix("+cc"), 16))
        self.widths = {"rep": 2, "narrow": 1, "wide": 1, "rex": 1, "length": 4}
        if self.condition:
            self.widths["cc"] = 4
        if self.modrm:
            self.widths |= {"memory": 1, "rm": 4, "base": 5, "index": 5, "scale": 2, "disp": 64}
            if self.digit is None:
                self.widths["reg"] = 4
        if self.tail:
            self.widths["imm"] = 64

    def field_mask(self, name: str) -> int:
        """See `Encoding`."""
        return (1 << self.widths[name]) - 1

    # -- decoding
    def decode(self, word: int) -> dict[str, int] | None:
        """See `Encoding`."""
        code = _Bytes(word)
        fields = dict.fromkeys(self.widths, 0)
        while code.peek() in (0x66, 0xF2, 0xF3):
            prefix = code.take()
            fields |= {"narrow": 1} if prefix == 0x66 else {"rep": prefix & 3}
        rex = code.take() if code.peek() & 0xF0 == 0x40 else 0
        fields |= {"rex": int(rex != 0), "wide": rex >> 3 & 1}
        for n, literal in enumerate(self.opcode):
            byte = code.take()
            if self.condition and n == len(self.opcode) - 1:
                fields["cc"], byte = byte & 15, byte & 0xF0
            if byte != literal:
                return None
        if self.modrm and not self._decode_modrm(code, rex, fields):
            return None
        if self.tail:
            size = 2 if self.tail == 4 and fields["narrow"] and not fields["wide"] else self.tail
            fields["imm"] = code.take_signed(size)
        fields["length"] = code.taken
        return fields

    def _decode_modrm(self, code: _Bytes, rex: int, fields: dict[str, int]) -> bool:
        byte = code.take()
        mod, middle, low = byte >> 6, byte >> 3 & 7, byte & 7
        if self.digit is None:
            fields["reg"] = middle | (rex >> 2 & 1) << 3
        elif middle != self.digit:
            return False
        if mod == 3:
            fields |= {"rm": low | (rex & 1) << 3, "base": NONE, "index": NONE}
            return True
        base, index, scale = low | (rex & 1) << 3, NONE, 0
        if low == 4:
            sib = code.take()
            base, scale = sib & 7 | (rex & 1) << 3, sib >> 6
            index = sib >> 3 & 7 | (rex >> 1 & 1) << 3
            if index == 4:
                index, scale = NONE, 0
        size = (0, 1, 4)[mod]
        if mod == 0 and base & 7 == 5:
            base, size = NONE if low == 4 else RIP, 4
        disp = code.take_signed(size) if size else 0
        fields |= {"memory": 1, "base": base, "index": index, "scale": scale, "disp": disp}
        return True

    # -- encoding: the shortest form
    def encode(self, fields: Mapping[str, int]) -> int:
        """See `Encoding`."""
        prefixes = b"\x66" * fields["narrow"]
        prefixes += bytes([0xF0 | fields["rep"]]) if fields["rep"] else b""
        opcode = bytes(self.opcode[:-1]) + bytes([self.opcode[-1] | fields.get("cc", 0)])
        rex, modrm = self._encode_modrm(fields) if self.modrm else (0, b"")
        rex |= fields["wide"] << 3
        if rex and not fields["rex"]:
            raise ValueError("needs a REX prefix")
        prefix = bytes([0x40 | rex]) if fields["rex"] else b""
        return int.from_bytes(prefixes + prefix + opcode + modrm + self._tail(fields), "little")

    def _tail(self, fields: Mapping[str, int]) -> bytes:
        if not self.tail:
            return b""
        size = 2 if self.tail == 4 and fields["narrow"] and not fields["wide"] else self.tail
        value = _signed64(fields["imm"] & ((1 << 64) - 1))
        if not _fits(value, size):
            raise ValueError(f"{value:#x} does not fit in {size} bytes")
        return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def _encode_modrm(self, fields: Mapping[str, int]) -> tuple[int, bytes]:
        """The bits of REX, and ModRM, SIB and displacement."""
        reg = fields["reg"] if self.digit is None else self.digit
        rex, middle = reg >> 3 << 2, (reg & 7) << 3
        if not fields["memory"]:
            return rex | fields["rm"] >> 3, bytes([0xC0 | middle | fields["rm"] & 7])
        base, index, disp = fields["base"], fields["index"], _signed64(fields["disp"])
        wide_disp = (disp & 0xFFFF_FFFF).to_bytes(4, "little")
        if not _fits(disp, 4):
            raise ValueError(f"{disp:#x} does not fit in a displacement")
        if base == RIP:
            return rex, bytes([middle | 5]) + wide_disp
        rex |= (index >> 3 & 1) << 1 if index != NONE else 0
        sib = fields["scale"] << 6 | (4 if index == NONE else index & 7) << 3
        if base == NONE:
            return rex, bytes([middle | 4, sib | 5]) + wide_disp
        rex |= base >> 3
        mod = 0 if not disp and base & 7 != 5 else 1 if _fits(disp, 1) else 2
        tail = (b"", bytes([disp & 0xFF]), wide_disp)[mod]
        if index == NONE and base & 7 != 4:
            return rex, bytes([mod << 6 | middle | base & 7]) + tail
        return rex, bytes([mod << 6 | middle | 4, sib | base & 7]) + tail
