"""VNC Authentication (RFC 6143, section 7.2.2): a challenge that is encrypted with the password by
DES. It keeps out who does not know the password, and hides nothing: for more there is TLS.
"""

from __future__ import annotations

import hmac
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late

__all__ = ["CHALLENGE_SIZE", "Password"]

CHALLENGE_SIZE = 16
KEY_SIZE = 8
"""Bytes of a password that count."""

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the opposite order, as the protocol has them in its keys."""


class Password:
    """A password of 1 to 8 bytes. Raises `BimetalError` for another one, and if the library for it
    is missing."""

    def __init__(self, text: str):
        encoded = text.encode()
        if not 0 < len(encoded) <= KEY_SIZE:
            raise BimetalError(
                f"a password of VNC has 1 to {KEY_SIZE} bytes, and this one has {len(encoded)}",
                "choose one that long; whoever needs more protection uses TLS",
                ExitCode.USAGE,
            )
        self._cipher = _des(encoded.ljust(KEY_SIZE, b"\0").translate(_MIRRORED))

    def fits(self, challenge: bytes, answer: bytes) -> bool:
        """Whether ``answer`` is the one that knowing the password gives."""
        encryptor = self._cipher.encryptor()
        return hmac.compare_digest(encryptor.update(challenge) + encryptor.finalize(), answer)


def _des(key: bytes) -> Any:
    """DES, as what triple DES is with one key three times."""
    try:
        cipher = late("cryptography.hazmat.primitives.ciphers:Cipher")
        block = late("cryptography.hazmat.decrepit.ciphers.algorithms:TripleDES")
        mode = late("cryptography.hazmat.primitives.ciphers.modes:ECB")
    except ImportError as error:
        raise BimetalError(
            "passwords of VNC are checked by cryptography, which is not installed",
            "install it: pip install 'bimetal[screen]'",
            ExitCode.UNAVAILABLE,
        ) from error
    return cipher(block(key * 3), mode())
