"""What a client can do and wants, as it says by SetEncodings (RFC 6143, section 7.5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.backends.vnc.encoders import Encoder, Raw, Tight, Zrle
from bimetal.backends.vnc.numbers import Encoding

__all__ = ["Wishes"]

USUAL_LEVEL = 1
"""How hard zlib tries unless the client says it: pictures of text gain little by more."""


class Wishes:
    """What follows from the ``encodings`` that a client has named, in its order of preference."""

    def __init__(self, encodings: Sequence[int] = ()):
        named = frozenset(encodings)
        self.desktop_size = Encoding.DESKTOP_SIZE in named
        self.extended_desktop_size = Encoding.EXTENDED_DESKTOP_SIZE in named
        self.copy_rect = Encoding.COPY_RECT in named
        self.cursor = Encoding.CURSOR in named
        self.cursor_with_alpha = Encoding.CURSOR_WITH_ALPHA in named
        self.extended_key = Encoding.EXTENDED_KEY in named
        levels = range(Encoding.COMPRESSION_LOWEST, Encoding.COMPRESSION_HIGHEST + 1)
        self.level = USUAL_LEVEL
        for each in encodings:
            if each in levels:
                self.level = max(USUAL_LEVEL, each - Encoding.COMPRESSION_LOWEST)
        known = (Encoding.ZRLE, Encoding.TIGHT, Encoding.RAW)
        self.encoding = next((each for each in encodings if each in known), Encoding.RAW)

    @property
    def resizes(self) -> bool:
        """Whether it can follow when the screen gets another size."""
        return self.desktop_size or self.extended_desktop_size

    def encoder(self, made: dict[int, Encoder]) -> Encoder:
        """The encoder for it. Those that were ``made`` for the same client before are used again:
        their streams go on as long as the connection does."""
        number = self.encoding
        if number not in made:
            if number == Encoding.ZRLE:
                made[number] = Zrle(self.level)
            elif number == Encoding.TIGHT:
                made[number] = Tight(self.level)
            else:
                made[number] = Raw()
        return made[number]
