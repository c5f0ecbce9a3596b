"""The escape key of the terminal: how a person talks to the program and not to the guest.

Ctrl-A was chosen because its users know it from other machine monitors and from `screen`. It is a
state machine on bytes and knows no terminal, so tests feed it directly.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["HELP", "EscapeAction", "EscapeKey"]

PREFIX = 0x01

HELP = """
Ctrl-A h       this help
Ctrl-A x       end the machine
Ctrl-A s       save it first, if 'bimetal run' was told where
Ctrl-A Ctrl-A  send Ctrl-A to the guest
"""


class EscapeAction(Enum):
    """What the key after Ctrl-A asks for."""

    HELP = "h"
    QUIT = "x"
    SAVE = "s"


_ACTIONS = {ord(action.value): action for action in EscapeAction}


class EscapeKey:
    """Splits what a person types into input for the guest and requests to the program.

    A key after Ctrl-A that means nothing is swallowed. The prefix may be the last byte of one
    `feed` and its key the first of the next.
    """

    def __init__(self) -> None:
        self._pending = False

    def feed(self, typed: bytes) -> list[bytes | EscapeAction]:
        """What ``typed`` amounts to, in order."""
        if not self._pending and PREFIX not in typed:
            return [typed] if typed else []
        parts: list[bytes | EscapeAction] = []
        plain = bytearray()
        for key in typed:
            if not self._pending:
                if key == PREFIX:
                    self._pending = True
                else:
                    plain.append(key)
                continue
            self._pending = False
            if key == PREFIX:
                plain.append(PREFIX)
            elif action := _ACTIONS.get(key):
                if plain:
                    parts.append(bytes(plain))
                    plain.clear()
                parts.append(action)
        if plain:
            parts.append(bytes(plain))
        return parts
