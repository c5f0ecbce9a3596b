"""The value of ``--vnc``, by which others look at a machine's screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bimetal import BimetalError, ExitCode
from bimetal.cli.words import Form

__all__ = ["VNC", "parse_vnc"]

VNC = Form(
    "--vnc",
    "[HOST]:DISPLAY|[HOST]::PORT|unix:PATH[,password-file=FILE][,tls-cert=FILE][,tls-key=FILE]"
    "[,websocket=PLACE][,origin=URL]",
    "a place",
    texts=("password-file", "tls-cert", "tls-key", "websocket", "origin"),
)
PASSWORD_FILE_LIMIT = 4096


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
        options["password"] = _first_line(str(words["password-file"]))
    return place, options


def _first_line(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.readline(PASSWORD_FILE_LIMIT).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BimetalError(
            f"the password file {path} cannot be read: {getattr(error, 'strerror', error)}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error
