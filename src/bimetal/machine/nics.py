"""NICs that a user wants a machine to have, checked as far as possible."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from msgspec import Struct

from bimetal.backends.net.choose import check_network
from bimetal.backends.net.options import Options, Words, split_words
from bimetal.backends.net.protocol import NetBackend
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.devices.virtio.limits import PAIRS_LIMIT

__all__ = ["NO_NETWORK", "USER_NETWORK", "Nic", "default_mac", "macs_of", "nic_from"]

NO_NETWORK = "none"
"""In place of a network: no NIC at all."""

USER_NETWORK = "user"

MODELS = {"virtio": "", "virtio-net": "", "virtio-net-pci": "", "virtio-net-device": ""}
"""The names that people know of the one model that there is."""

OUI = b"\x52\x54\x00"
"""What addresses that nobody chose begin with: individual and locally administered (IEEE 802)."""

FIRST = 0x12_34_56
"""How the first one goes on; the addresses of QEMU's machines are the same."""

MTU_LEAST, MTU_MOST = 68, 0xFFFF
SPEED_MOST = 0x7FFF_FFFF

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")

Value = str | int | bool | Sequence[str]


class Nic(Struct, frozen=True):
    """A virtio NIC on the network called ``kind``, of which ``words`` say more, or on ``backend``.

    ``mac`` is None for an address that follows from the rest; ``mtu`` and ``speed`` (Mbit/s) are 0
    if the guest need not know; ``queues`` counts pairs; ``capture`` is the path of a file for what
    goes over the cable, or "".
    """

    kind: str
    words: tuple[tuple[str, str], ...] = ()
    backend: NetBackend | None = None
    mac: bytes | None = None
    mtu: int = 0
    speed: int = 0
    queues: int = 1
    capture: str = ""


def nic_from(
    network: str | NetBackend, given: Mapping[str, Value | None] | None = None
) -> Nic | None:
    """The NIC that ``network`` and what is ``given`` beside it describe; None for `NO_NETWORK`.

    A text is the name of a network with words behind commas, like ``user,mac=52:54:00:00:00:01``.
    Raises `BimetalError` for what cannot be, as far as it can be told before the network is opened.
    """
    kind, words = split_words(network) if isinstance(network, str) else ("", [])
    words += _as_words(given or {})
    options = Options(kind or "of yours", words)
    model, mac = options.text("model"), options.text("mac")
    if model is not None and model not in MODELS:
        raise BimetalError(
            f"there is no model {model!r} of a NIC", choose_from(model, MODELS), ExitCode.USAGE
        )
    nic = Nic(
        kind=kind,
        backend=None if isinstance(network, str) else network,
        mac=None if mac is None else parse_mac(mac),
        # A user network has to know it too, and tells the card.
        mtu=0 if kind == USER_NETWORK else options.number("mtu", MTU_LEAST, MTU_MOST) or 0,
        speed=options.number("speed", 1, SPEED_MOST) or 0,
        queues=options.number("queues", 1, PAIRS_LIMIT) or 1,
        capture=options.text("capture") or "",
        words=tuple(options.left),
    )
    if kind == NO_NETWORK:
        options.finish()
        return None
    if nic.backend is None:
        check_network(kind)
    else:
        options.finish()
    return nic


def default_mac(nic: Nic, number: int, marks: Iterable[str]) -> bytes:
    """The address of NIC ``number`` of a machine if nobody chose one: each time the same.

    A user network belongs to one machine, and there addresses count from `FIRST`. On a network with
    other machines each needs its own: it follows from what is said of the network, which for the
    two ends of a cable differs, and from ``marks`` of the machine.
    """
    if nic.kind == USER_NETWORK:
        return OUI + (FIRST + number & 0xFF_FFFF).to_bytes(3, "big")
    told = repr((nic.kind, nic.words, number, list(marks)))
    return OUI + sha256(told.encode(errors="surrogateescape")).digest()[:3]


def macs_of(nics: Sequence[Nic], marks: Sequence[str]) -> list[bytes]:
    """The addresses of a machine's NICs, see `default_mac`. Raises `BimetalError` if two are the
    same."""
    macs = [nic.mac or default_mac(nic, number, marks) for number, nic in enumerate(nics)]
    for mac in macs:
        if macs.count(mac) > 1:
            raise BimetalError(
                f"two NICs have the address {mac.hex(':')}", "give each its own", ExitCode.USAGE
            )
    return macs


def parse_mac(text: str) -> bytes:
    """An address like 52:54:00:12:34:56. Raises `BimetalError` for one that no NIC can have."""
    wrong = ""
    if not _MAC.fullmatch(text):
        wrong = "is not a MAC address"
    else:
        mac = bytes.fromhex(re.sub("[:-]", "", text))
        if mac[0] & 1:
            wrong = "is the address of a group"
        elif not any(mac):
            wrong = "is no address"
        else:
            return mac
    raise BimetalError(
        f"mac={text} {wrong}", "give six bytes like 52:54:00:12:34:56", ExitCode.USAGE
    )


def _as_words(given: Mapping[str, Value | None]) -> Words:
    """Options of Python as the words that they would be on the command line."""
    words: list[tuple[str, str]] = []
    for name, value in given.items():
        match value:
            case None:
                pass
            case bool():
                words.append((name, "on" if value else "off"))
            case str() | int():
                words.append((name, str(value)))
            case _:
                words += [(name, each) for each in value]
    return words
