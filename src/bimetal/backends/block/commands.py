"""Commands for the remedies of errors, quoted so that they can be pasted into a shell."""

from __future__ import annotations

import os
import shlex

from bimetal.backends.block.formats import QCOW2

__all__ = [
    "convert_command",
    "create_command",
    "quoted",
    "rebase_command",
    "repair_command",
    "unused",
]


def quoted(path: str) -> str:
    """``path`` as a shell takes it. Names in images may hold what would drive the terminal."""
    if path.isprintable():
        return shlex.quote(path)
    plain = set(range(0x20, 0x7F)) - set(b"'\\")
    return "$'" + "".join(chr(b) if b in plain else f"\\x{b:02x}" for b in os.fsencode(path)) + "'"


def create_command(path: str, format: str | None) -> str:
    """Make an empty image at ``path``."""
    if format == QCOW2:
        return f"qemu-img create -f qcow2 {quoted(path)} 8G"
    return f"truncate -s 8G {quoted(path)}"


def convert_command(path: str, format: str, new: str) -> str:
    """Make a qcow2 image ``new`` of the one at ``path``, which has the format ``format``."""
    return f"qemu-img convert -f {format} -O qcow2 {quoted(path)} {quoted(new)}"


def rebase_command(path: str, format: str, name: str) -> str:
    """Have the image at ``path`` call its backing file ``name``, without a look at either."""
    return f"qemu-img rebase -u -f qcow2 -F {format} -b {quoted(name)} {quoted(path)}"


def unused(path: str) -> str:
    """``path``, or a name like it that no file has: a command must not write over one."""
    stem, suffix = os.path.splitext(path)
    number = 1
    while os.path.lexists(path):
        number += 1
        path = f"{stem}-{number}{suffix}"
    return path


def repair_command(path: str) -> str:
    """Mend the qcow2 image at ``path`` as far as that can be done."""
    return f"qemu-img check -r all {quoted(path)}"
