"""What the guest has done to the terminal's screen, so that it can be undone, and done again.

A guest that is ended in the middle of an editor leaves the terminal without a cursor, without
wrapping, on the alternate screen, and reporting the mouse. There is no sequence that puts all
terminals right: "reset" clears the screen, and to leave an alternate screen that was never entered
moves the cursor. So the guest's output is followed for what changes modes, by the control sequences
of ECMA-48, of the VT220 manual and of xterm's ctlseqs, and only what was changed is changed back.
"""

from __future__ import annotations

import re

__all__ = ["Screen"]

ESC, BEL, CAN, SUB, SHIFT_OUT, SHIFT_IN = 0x1B, 0x07, 0x18, 0x1A, 0x0E, 0x0F
NEWS = re.compile(rb"[\x0e\x0f\x1b]")
"""Bytes with which something begins that may matter."""

CONTROL, STRINGS = ord("["), b"]PX^_"
"""After ESC: the beginning of a control sequence, and of strings that end with BEL or ST."""

LONGEST = 256
"""Bytes of a control sequence that are looked at; real ones are shorter."""

ON_BY_DEFAULT = frozenset({b"12", b"?7", b"?8", b"?25"})
"""No echo by the terminal itself, wrapping, keys that repeat, the cursor. Other modes are off in a
terminal at rest."""

NOT_OURS = frozenset({b"?3", b"?40", b"?67", b"?1048", *(b"?%d" % n for n in range(1034, 1040))})
"""Modes not to undo: 132 columns clears the screen, 40 permits it, 1048 saves the cursor; and what
the backspace and meta keys send, whose defaults differ."""

PALETTE = {b"4": b"104", b"10": b"110", b"11": b"111", b"12": b"112"}
"""Operating system commands that set colours: the palette, text, background, cursor; and the
command that resets each."""

_SEQUENCE = re.compile(rb"\x1b\[([<-?]?)([0-9;:]*)([ -/]*)([@-~])")
_COMMAND = re.compile(rb"\x1b\](\d+)(?:;(?!\?)|(?=[\x07\x1b]))")


class Screen:
    """Follows output by `feed`; `undo` gives the terminal back, `redo` takes it again."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._modes: dict[bytes, bool] = {}
        self._others: dict[str, tuple[bytes, bytes]] = {}
        self.in_line = False
        """Whether the cursor has left the beginning of a line, as far as one can tell."""

    def feed(self, data: bytes) -> None:
        """Look at output on its way to the terminal."""
        if self._partial or NEWS.search(data):
            for byte in data:
                self._byte(byte)
        if data:
            self.in_line = data[-1] not in b"\r\n"

    def undo(self) -> bytes:
        """What puts the terminal back to how terminals are, b"" if it is."""
        # Copies, since a signal may call this while another thread feeds.
        modes = [_mode(name, not on) for name, on in reversed(list(self._modes.items()))]
        return b"".join(modes + [undo for undo, _ in list(self._others.values())])

    def redo(self) -> bytes:
        """What brings the guest's modes back after `undo`."""
        modes = [_mode(name, on) for name, on in self._modes.items()]
        return b"".join(modes + [redo for _, redo in self._others.values()])

    # A sequence comes byte by byte, as serial ports write.

    def _byte(self, byte: int) -> None:
        partial = self._partial
        if partial and byte in (CAN, SUB):
            partial.clear()
        elif partial[1:2] and partial[1] in STRINGS:
            self._string(byte)
        elif byte == ESC:
            partial[:] = b"\x1b"
        elif partial:
            self._sequence(byte)
        elif byte == SHIFT_OUT:
            self._others["shift"] = b"\x0f", b"\x0e"
        elif byte == SHIFT_IN:
            self._others.pop("shift", None)

    def _string(self, byte: int) -> None:
        partial = self._partial
        if partial[-1] == ESC and byte != ord("\\"):  # no end, but the next sequence
            partial[:] = b"\x1b"
            self._sequence(byte)
            return
        ends = byte == BEL or partial[-1] == ESC
        if ends or len(partial) < LONGEST or byte == ESC:
            partial.append(byte)
        if ends:
            self._command(self._complete())

    def _sequence(self, byte: int) -> None:
        partial = self._partial
        partial.append(byte)
        if partial[1] == CONTROL:
            if len(partial) > 2 and 0x40 <= byte <= 0x7E:
                self._control(self._complete())
        elif partial[1] not in STRINGS and 0x30 <= byte <= 0x7E:
            self._escape(self._complete())
        if len(partial) > LONGEST:
            partial.clear()

    def _complete(self) -> bytes:
        sequence = bytes(self._partial)
        self._partial.clear()
        return sequence

    # What sequences mean

    def _escape(self, sequence: bytes) -> None:
        match sequence[1:]:
            case b"c":
                self._modes.clear()
                self._others.clear()
            case b"=" | b">" as keypad:
                self._change("keypad", keypad == b"=", b"\x1b>", sequence)
            case characters if characters[:1] == b"(":
                self._change("characters", characters != b"(B", b"\x1b(B", sequence)

    def _command(self, sequence: bytes) -> None:
        found = _COMMAND.match(sequence)
        if found is None:
            return
        if reset := PALETTE.get(found[1]):
            self._change(f"palette {reset!r}", True, b"\x1b]%b\x07" % reset, sequence)
        elif not sequence[found.end() :].strip(b"\x07\x1b\\"):  # all colours of a kind are reset
            self._others.pop(f"palette {found[1]!r}", None)

    def _control(self, sequence: bytes) -> None:
        found = _SEQUENCE.fullmatch(sequence)
        if found is None:
            return
        private, text, intermediate, final = found.groups()
        match private, intermediate, final:
            case (b"?" | b"", b"", b"h" | b"l"):
                for parameter in text.split(b";"):
                    self._set(private + parameter, final == b"h")
            case b"", b"", b"m":
                _, earlier = self._others.get("colours", (b"", b""))
                begins = text[:1] in b"0;" or len(earlier) > LONGEST
                again = sequence if begins else earlier + sequence
                self._change("colours", bool(text.strip(b"0;")), b"\x1b[m", again)
            case b"", b"", b"r":  # which moves the cursor: it is saved and brought back
                again = b"\x1b7" + sequence + b"\x1b8"
                self._change("margins", bool(text), b"\x1b7\x1b[r\x1b8", again)
            case b"", b" ", b"q":
                self._change("cursor", bool(text.strip(b"0")), b"\x1b[0 q", sequence)
            case b">", b"", b"m":
                self._change("modified keys", b";" in text, b"\x1b[>4m", sequence)
            case (b">" | b"<", b"", b"u"):
                self._change("keys", private == b">", b"\x1b[<u", sequence)
            case b"", b"!", b"p":
                self._soft_reset()

    def _set(self, name: bytes, on: bool) -> None:
        if name in NOT_OURS or not name.strip(b"?"):
            return
        self._modes.pop(name, None)
        if on != (name in ON_BY_DEFAULT):
            self._modes[name] = on

    def _change(self, what: str, changed: bool, undo: bytes, redo: bytes) -> None:
        self._others.pop(what, None)
        if changed:
            self._others[what] = undo, redo

    def _soft_reset(self) -> None:
        """DECSTR leaves the screen and what is reported as they are (VT220 manual, table 4-10)."""
        for name in (b"4", b"?1", b"?6", b"?25"):
            self._modes.pop(name, None)
        for what in ("colours", "margins", "keypad", "characters", "shift"):
            self._others.pop(what, None)


def _mode(name: bytes, on: bool) -> bytes:
    return b"\x1b[" + name + (b"h" if on else b"l")
