"""Files from servers of the web, by http, https or ftp."""

from __future__ import annotations

import os
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from urllib.error import HTTPError

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["fetch", "is_url"]

KINDS = ("http://", "https://", "ftp://")
PATIENCE = 30.0
"""Seconds in which a server has to answer, each time."""

PIECE = 1 << 20
MISSING = (404, 410)


def is_url(text: str) -> bool:
    """Whether a text is an address of such a server."""
    return text.startswith(KINDS)


def fetch(url: str, path: str, limit: int) -> bool:
    """Write what is at ``url`` to the file ``path``, which is there wholly or not at all; False if
    the server has nothing there. Raises `BimetalError`, for more than ``limit`` bytes too."""
    if not is_url(url):
        raise _wrong(url, "that is no address of a server", "write http://, https:// or ftp://")
    scratch = f"{path}.part"
    try:
        with (
            urllib.request.urlopen(url, timeout=PATIENCE) as source,
            open(scratch, "wb") as target,
        ):
            left = limit
            while piece := source.read(PIECE):
                left -= len(piece)
                if left < 0:
                    raise _wrong(url, f"it has more than {limit} bytes", "name another one")
                target.write(piece)
        os.replace(scratch, path)
        return True
    except HTTPError as error:
        with error:
            if error.code in MISSING:
                return False
        raise _wrong(url, f"{error.code} {error.reason}", "check the address") from error
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise _wrong(url, str(reason), "check the address, and the network") from error
    finally:
        with suppress(OSError):
            os.unlink(scratch)


def _wrong(url: str, why: str, remedy: str) -> BimetalError:
    return BimetalError(f"{url[:200]} cannot be fetched: {why}", remedy, ExitCode.UNAVAILABLE)
