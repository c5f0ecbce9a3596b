"""A network by its name, as the command line and the Python interface write it."""

from __future__ import annotations

from typing import cast

from bimetal.backends.net.options import Options, Words, refusal
from bimetal.backends.net.protocol import NetBackend
from bimetal.base.late import late
from bimetal.base.near import choose_from

__all__ = ["NETWORKS", "check_network", "open_network"]

NETWORKS = {
    "user": "bimetal.backends.net.user.options:open_user",
    "stream": "bimetal.backends.net.cables:open_stream",
    "dgram": "bimetal.backends.net.cables:open_dgram",
    "socket": "bimetal.backends.net.cables:open_socket",
    "tap": "bimetal.backends.net.tap:open_tap",
    "passt": "bimetal.backends.net.passt:open_passt",
}
"""What opens each kind of network, given its options. Raises `BimetalError`."""


def check_network(kind: str) -> None:
    """Raise `BimetalError` unless there is a kind of network of that name."""
    if kind not in NETWORKS:
        raise refusal(f"{kind!r} is no network", choose_from(kind, NETWORKS))


def open_network(kind: str, words: Words) -> NetBackend:
    """The network of that kind, with what ``words`` say of it.

    Raises `BimetalError` for words that mean nothing, and for what the host refuses.
    """
    check_network(kind)
    return cast(NetBackend, late(NETWORKS[kind])(Options(kind, words)))
