"""The value of ``--vnc``, by which others look at a machine's screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bimetal.cli.secret_files import first_line
from bimetal.cli.words import Form

__all__ = ["VNC", "parse_vnc"]

VNC = Form(
    "--vnc",
    "[HOST]:DISPLAY|[HOST]::PORT|unix:PATH[,password-file=FILE][,tls-cert=FILE][,tls-key=FILE]"
    "[,websocket=PLACE][,origin=URL]",
    "a place",
    texts=("password-file", "tls-cert", "tls-key", "websocket", "origin"),
)


def parse_vnc(text: str) -> tuple[str, dict[str, Any]]:
    """Read the value of ``--vnc``: the place, and arguments of `Machine.vnc`. Raises
    `BimetalError`."""
    place, words = VNC.read(text)
    options: dict[str, Any] = {
        "tls_certificate": words.get("tls-cert"),
        "tls_key": words.get("tls-key"),
        "web_socket": words.get("websocket"),
        "origins": [words["origin"]] if "origin" in words else [],
    }
    if "password-file" in words:
        options["password"] = first_line(Path(str(words["password-file"])), "password")
    return place, options
