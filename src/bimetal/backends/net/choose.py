"""A network by its name, as the command line and the Python interface write it."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.net.cables import open_dgram, open_socket, open_stream
from bimetal.backends.net.options import Options, Words, refusal
from bimetal.backends.net.passt import open_passt
from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.net.tap import open_tap
from bimetal.backends.net.user.options import open_user
from bimetal.base.near import choose_from

__all__ = ["NETWORKS", "check_network", "open_network"]

NETWORKS: dict[str, Callable[[Options], NetBackend]] = {
    "user": open_user,
    "stream": open_stream,
    "dgram": open_dgram,
    "socket": open_socket,
    "tap": open_tap,
    "passt": open_passt,
}
"""How each kind of network is opened, from its options. Raises `BimetalError`."""


def check_network(kind: str) -> None:
    """Raise `BimetalError` unless there is a kind of network of that name."""
    if kind not in NETWORKS:
        raise refusal(f"{kind!r} is no network", choose_from(kind, NETWORKS))


def open_network(kind: str, words: Words) -> NetBackend:
    """The network of that kind, with what ``words`` say of it.

    Raises `BimetalError` for words that mean nothing, and for what the host refuses.
    """
    check_network(kind)
    return NETWORKS[kind](Options(kind, words))
