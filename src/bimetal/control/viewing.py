"""The screen of a machine that stays, for viewers: at a socket beside the machine's own, where the
page finds it, and where the definition says."""

from __future__ import annotations

from bimetal.base.errors import BimetalError
from bimetal.control.definition import AUTO, ScreenPart
from bimetal.machine.machine import Machine

__all__ = ["serve_screen"]

DISPLAYS = range(100)
"""Displays of which the first that is free is taken."""

FIRST_PORT = 5900


def serve_screen(machine: Machine, screen: ScreenPart, socket: str) -> dict[str, str]:
    """Serve the screen of a machine at ``socket`` and where else it is wanted; where that is, for
    those who look for it. Raises `BimetalError`."""
    machine.vnc(f"unix:{socket}")
    told = {"screen": socket, "vnc": ""}
    password = screen.password or None
    if screen.vnc == AUTO:
        display = _first_free(machine, password)
        told["vnc"] = f"127.0.0.1:{display}"
    elif screen.vnc:
        where = machine.vnc(screen.vnc, password=password).address
        told["vnc"] = where if isinstance(where, str) else _display(*where)
    return told


def _first_free(machine: Machine, password: str | None) -> int:
    for display in DISPLAYS:
        try:
            machine.vnc(f":{display}", password=password)
        except BimetalError:
            if display == DISPLAYS[-1]:
                raise
        else:
            return display
    raise AssertionError("there are displays")


def _display(host: str, port: int) -> str:
    """A place as virsh tells it."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port - FIRST_PORT}" if port >= FIRST_PORT else f"{shown}::{port}"
