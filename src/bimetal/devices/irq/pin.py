"""Inputs of an interrupt controller, as boards wire them and device trees name them."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Controller", "Pin"]


class Controller(Protocol):
    """What has numbered interrupt inputs."""

    name: str

    def set_input(self, number: int, level: bool) -> None:
        """The level of input ``number`` is another."""

    def renew_input(self, number: int) -> None:
        """Input ``number`` is high, and was driven high once more."""


class Pin:
    """Input ``number`` of ``controller``: call it with a level."""

    __slots__ = ("controller", "number")

    def __init__(self, controller: Controller, number: int):
        self.controller, self.number = controller, number

    def __call__(self, level: bool) -> None:
        self.controller.set_input(self.number, level)

    def renew(self) -> None:
        """The output that leads here was driven high while it was high (see `Level`)."""
        self.controller.renew_input(self.number)

    def __repr__(self) -> str:
        return f"{self.controller.name}[{self.number}]"
