"""Options for the screen, and for viewers."""

from __future__ import annotations

from bimetal.control.emulator.grammar import read_words, wrong
from bimetal.control.emulator.order import Order, ViewersAt

__all__ = ["read_display", "read_vnc"]


def read_vnc(order: Order, option: str, value: str) -> None:
    """Where viewers find the screen. Without a host they find it on this host alone."""
    order.graphic = False
    words = read_words(option, value, "place")
    place = words.needed("place")
    if place == "none":
        words.finish()
        return
    words.ignore("audiodev", "id")
    viewers = ViewersAt(place, words.switch("password"), words.text("websocket"))
    words.only("share", "ignore", "allow-exclusive")
    words.finish()
    order.viewers.append(viewers)


def read_display(order: Order, option: str, value: str) -> None:
    """No window, or viewers in place of it: there are no windows."""
    order.graphic = False
    kind, equals, rest = value.partition("=")
    if kind == "vnc" and equals:
        read_vnc(order, option, rest)
    elif value != "none":
        raise wrong(option, f"{value[:80]!r} is not there", "write none, or vnc=:0")
