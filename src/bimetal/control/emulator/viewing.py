"""Viewers of the screen, as they were ordered."""

from __future__ import annotations

import secrets

from bimetal.control.emulator.grammar import wrong
from bimetal.control.emulator.order import Order
from bimetal.control.managed import Managed

__all__ = ["let_in"]


def let_in(order: Order, vm: Managed) -> None:
    """Let viewers see the screen. Who has to know a password is let in once it was set. Raises
    `BimetalError`."""
    if len(order.viewers) > 1:
        raise wrong("vnc", "viewers at two places", "write one")
    for each in order.viewers:
        if vm.machine.config.video is None:
            raise wrong("vnc", "the machine has no screen", "add -device virtio-gpu-pci")
        unknown = secrets.token_hex(4) if each.password else None
        web = each.web_socket or None
        vm.viewers = vm.machine.vnc(each.place, password=unknown, web_socket=web)
