"""What an emulator keeps its own process from: ``-sandbox``."""

from __future__ import annotations

from bimetal.control import sandboxing
from bimetal.control.emulator.grammar import read_words
from bimetal.control.emulator.order import Order

__all__ = ["confine", "read_sandbox"]

ALLOW, DENY, CHILDREN = "allow", "deny", "children"


def read_sandbox(order: Order, option: str, value: str) -> None:
    """What the process gives up before there is a guest."""
    words = read_words(option, value, "enable")
    wanted = words.switch("enable")
    words.only("obsolete", DENY)
    identity = words.choice("elevateprivileges", ALLOW, DENY, CHILDREN) == DENY
    programs = words.choice("spawn", ALLOW, DENY) == DENY
    resources = words.choice("resourcecontrol", ALLOW, DENY) == DENY
    words.finish()
    order.sandbox = sandboxing.Sandbox(identity, programs, resources) if wanted else None


def confine(order: Order) -> None:
    """Have this process, and what it starts, give up what the order says. Raises `BimetalError` for
    what cannot be done."""
    if order.sandbox is not None:
        networks = [nic.network for nic in order.nics]
        sandboxing.confine(order.sandbox, [*networks, *order.netdevs.values(), *order.old_networks])
