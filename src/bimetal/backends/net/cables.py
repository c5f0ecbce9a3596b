"""The options of cables to other machines: ``stream``, ``dgram`` and ``socket``, in the words of
QEMU and in shorter ones."""

from __future__ import annotations

from bimetal.backends.net import dgram, stream
from bimetal.backends.net.address import Address, address_option, parse_address
from bimetal.backends.net.options import Options, refusal
from bimetal.backends.net.protocol import NetBackend

__all__ = ["open_dgram", "open_socket", "open_stream"]

LONGEST_WAIT = 3600
"""Seconds between two calls."""

FD_MOST = 1 << 20


def open_stream(options: Options) -> NetBackend:
    """``listen=ADDRESS``, ``connect=ADDRESS[,reconnect=SECONDS]`` or ``fd=NUMBER``; or QEMU's
    ``server=on|off`` and ``addr.*``. Raises `BimetalError`."""
    reconnect = options.number("reconnect", 0, LONGEST_WAIT) or 0
    is_server = options.switch("server")
    address = address_option(options, "addr", "addr")
    if address is not None:
        options.finish()
        return stream.listening(address) if is_server else stream.connecting(address, reconnect)
    if is_server is not None:
        raise refusal("server= says nothing without an address", "write listen=HOST:PORT instead")
    return _stream(options, options.one_of("listen", "connect", "fd"), reconnect)


def open_dgram(options: Options) -> NetBackend:
    """``local=ADDRESS,remote=ADDRESS``, in QEMU's words ``local.*`` and ``remote.*``; a multicast
    group as ``remote`` is a hub, and ``local=HOST:0`` then names the interface. Raises
    `BimetalError`."""
    local = address_option(options, "local", "local")
    remote = address_option(options, "remote", "remote")
    options.finish()
    if remote is not None and dgram.is_group(remote):
        return dgram.group(remote, local.host if local is not None else "")
    if local is None or remote is None:
        raise refusal("the network dgram has no two ends", "write local=HOST:PORT,remote=HOST:PORT")
    return dgram.between(local, remote)


def open_socket(options: Options) -> NetBackend:
    """QEMU's older words: ``listen=``, ``connect=``, ``fd=``, ``mcast=GROUP:PORT``, ``udp=`` with
    ``localaddr=``. Raises `BimetalError`."""
    kind = options.one_of("listen", "connect", "fd", "mcast", "udp")
    if kind in ("listen", "connect", "fd"):
        return _stream(options, kind, 0)
    address = _address(options, kind)
    near = options.text("localaddr")
    options.finish()
    if kind == "mcast":
        if not dgram.is_group(address):
            raise refusal(
                f"{address.host} is no multicast group",
                "give one from 224.0.0.0 to 239.255.255.255",
            )
        return dgram.group(address, near or "")
    if near is None:
        raise refusal("udp= needs localaddr=, where to receive", "write localaddr=HOST:PORT too")
    return dgram.between(parse_address(near), address)


def _stream(options: Options, kind: str, reconnect: int) -> NetBackend:
    if kind == "fd":
        number = options.number("fd", 0, FD_MOST)
        options.finish()
        return stream.over(number or 0)
    address = _address(options, kind)
    options.finish()
    if kind == "listen":
        return stream.listening(address)
    return stream.connecting(address, reconnect)


def _address(options: Options, name: str) -> Address:
    return parse_address(options.text(name) or "")
