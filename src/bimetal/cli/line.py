"""What a guest of the catalogue is told of its console: the terminal or the pipe at its far end.

A serial line tells neither size nor kind of the terminal behind it, and has no end of input. So the
size, the kind and "this is a pipe" go on the kernel's command line, where the guest's first process
finds them (docs/tour.md lists its words), and the end of a pipe is what a person would type. What
size it has later is told by a virtio console, which is there for nothing else.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from bimetal import Machine

__all__ = ["FOLLOWS", "INPUT", "OWN_SYSTEM", "connect_pipe", "words_for"]

INPUT, OUTPUT = 0, 1
PIPE = "bminput=pipe"
OWN_SYSTEM = "bmroot="
"""The word with which the guest continues with another system, which knows no such words."""

FOLLOWS = ",hvc0"
"""The end of the word for the size if it changes with that of a virtio console."""

UP = "BIMETAL-GUEST-UP"
"""What the guest's first process shows when it has made a pipe of its console: what was typed
earlier would be echoed."""

END_OF_INPUT = "\x04"
"""Ctrl-D."""

KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
"""Names of terminals, as terminfo(5) has them."""

WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
"""A word of a kernel's command line, where double quotes alone quote, up to the end if need be."""


def words_for(serial: str, *, follows: bool = False) -> list[str]:
    """The words for a guest whose console is ``serial``. If it can, it ``follows`` the size of the
    terminal by a virtio console."""
    kind, _, _ = serial.partition(":")
    if kind in ("pty", "unix", "tcp"):
        return ["bmsize=ask"]
    if kind != "stdio":
        return []
    words = [] if os.isatty(INPUT) else [PIPE]
    if not os.isatty(OUTPUT):
        return [*words, "TERM=dumb"]
    with suppress(OSError):
        size = os.get_terminal_size(OUTPUT)
        if size.columns and size.lines:
            words.append(f"bmsize={size.columns}x{size.lines}" + FOLLOWS * follows)
    if KIND.fullmatch(terminal := os.environ.get("TERM", "")):
        words.append(f"TERM={terminal}")
    return words


def connect_pipe(machine: Machine) -> None:
    """Have a pipe typed as the guest expects it, if it was told that its console is one."""
    words = [word.replace('"', "") for word in WORD.findall(machine.config.append)]
    if PIPE in words and not any(word.startswith(OWN_SYSTEM) for word in words):
        machine.console.pipe(UP, END_OF_INPUT)
