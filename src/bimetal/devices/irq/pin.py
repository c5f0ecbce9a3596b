"""Inputs of an interrupt controller, as boards wire them and device trees name them."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Controller", "Pin"]


class Controller(Protocol):
    """What has numbered interrupt inputs."""

    name: str

    def set_input(self, number: int, level: bool) -> None:
        """Drive input ``number``."""


class Pin:
    """Input ``number`` of ``controller``: call it with a level."""

    __slots__ = ("controller", "number")

    def __init__(self, controller: Controller, number: int):
        self.controller, self.number = controller, number

    def __call__(self, level: bool) -> None:
        self.controller.set_input(self.number, level)

    def __repr__(self) -> str:
        return f"{self.controller.name}[{self.number}]"
