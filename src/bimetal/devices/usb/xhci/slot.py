"""Slots: what the controller knows of a device that software speaks to, and of its endpoints
(xHCI 1.1, sections 4.5, 4.8 and 6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, ClassVar

from bimetal.base.state import BadState, Stateful
from bimetal.devices.usb.descriptors import IN
from bimetal.devices.usb.xhci.ring import Ring

__all__ = ["CONTEXT_SIZE", "CONTROL", "ENDPOINTS", "Endpoint", "EndpointState", "Slot", "SlotState"]

CONTEXT_SIZE = 32
ENDPOINTS = range(1, 32)
"""Numbers of the contexts of endpoints, of which 0 is that of the slot."""
CONTROL = 1
"""That of endpoint 0."""


class EndpointState(IntEnum):
    """What an endpoint does (6.2.3)."""

    DISABLED = 0
    RUNNING = 1
    HALTED = 2
    STOPPED = 3
    ERROR = 4


class SlotState(IntEnum):
    """How far software has come with a device (6.2.2); the first has two meanings, of which the
    other is that the slot is not in use."""

    ENABLED = 0
    DEFAULT = 1
    ADDRESSED = 2
    CONFIGURED = 3


class Endpoint(Stateful):
    """An endpoint whose context has the ``number``."""

    saved = ("state", "ring")
    fixed = ("number",)

    def __init__(self, number: int, ring: Ring):
        self.number, self.ring = number, ring
        self.state: int = EndpointState.RUNNING

    @property
    def inwards(self) -> bool:
        """Whether data go to the host."""
        return bool(self.number & 1)

    @property
    def address(self) -> int:
        """Its address in the device."""
        return self.number >> 1 | IN * self.inwards


class Slot(Stateful):
    """A slot, in use if it is ``enabled``; its device is at the root hub's ``port``, or behind hubs
    there by a ``route``, and software is told of it in the ``context`` at that address."""

    saved = ("enabled", "state", "port", "route", "context")
    added: ClassVar[Mapping[str, object]] = {"route": 0}
    derived = ("endpoints",)

    def __init__(self) -> None:
        self.endpoints: dict[int, Endpoint] = {}
        self.enabled = False
        self.release()

    def release(self) -> None:
        """It is not in use any more."""
        self.enabled = False
        self.state: int = SlotState.ENABLED
        self.port = self.route = self.context = 0
        self.endpoints.clear()

    def save(self) -> dict[str, Any]:
        told = {number: each.save() for number, each in self.endpoints.items()}
        return {**super().save(), "endpoints": told}

    def load(self, state: Mapping[str, Any]) -> None:
        given = state.get("endpoints")
        if not isinstance(given, dict) or not all(number in ENDPOINTS for number in given):
            raise BadState("a slot without endpoints")
        self.endpoints.clear()
        for number, each in given.items():
            self.endpoints[number] = Endpoint(number, Ring())
            self.endpoints[number].load(each)
        super().load(state)
