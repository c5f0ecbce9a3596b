"""From an image to its backing file, as the image names it.

The name comes from a header that nobody checked: it is the path of a file or it is refused, the
format of that file is the one that the header says, and no chain of images is endless.
"""

from __future__ import annotations

import os
import re

from bimetal.backends.block.commands import convert_command, rebase_command, unused
from bimetal.backends.block.folders import check_folder
from bimetal.backends.block.formats import FORMATS, QCOW2, RAW
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.paths import same_file

__all__ = ["CHAIN_LIMIT", "find_backing", "find_data"]

CHAIN_LIMIT = 32
"""Images on top of each other."""

PROTOCOL = re.compile(r"[^/:]+:")
"""How names begin that QEMU takes for something else than a path: ``nbd:``, ``json:``, ``file:``;
a file whose name has a colon is ``./a:b`` there."""

CONVERTIBLE = ("qed", "qcow", "parallels")


def find_backing(
    path: str,
    name: str,
    format: str | None,
    above: tuple[str, ...],
    folders: tuple[str, ...] = (),
) -> str:
    """Where the backing file is that the image at ``path`` calls ``name``, of the format
    ``format``; ``above`` are the paths of the images that lie on this one, and its own. It lies
    where `check_folder` allows it.

    Raises `BimetalError` for a backing file that cannot be one.
    """
    if PROTOCOL.match(name):
        raise _unusable(
            f"the image {path!r} lies on {name!r}, which is not the path of a file",
            f"say the path of a file that has that content: {rebase_command(path, RAW, 'PATH')} "
            f"(or -F {QCOW2}; a path with a colon begins with ./)",
        )
    where = os.path.join(os.path.dirname(path), name)
    if format is None:
        raise _unusable(
            f"the image {path!r} does not say which format its backing file {name!r} has",
            f"tell it: {rebase_command(path, RAW, name)} (or -F {QCOW2}, if that was made as one)",
        )
    if format in CONVERTIBLE:
        new = unused(os.path.splitext(where)[0] + ".qcow2")
        name_of_new = os.path.join(os.path.dirname(name), os.path.basename(new))
        raise _unusable(
            f"the image {path!r} lies on {name!r} of the format {format}, which is not read",
            f"make a qcow2 image of that: {convert_command(where, format, new)} && "
            f"{rebase_command(path, QCOW2, name_of_new)}",
        )
    if format not in FORMATS:
        raise _unusable(
            f"the image {path!r} lies on {name!r} of the format {format!r}, which is not read",
            f"if that is wrong, say what it has: {rebase_command(path, RAW, name)} (or -F {QCOW2})",
        )
    if any(same_file(where, image) for image in above):
        raise _unusable(
            f"the image {path!r} lies on itself, through its backing file {name!r}",
            f"give it another backing file: {rebase_command(path, RAW, 'FILE')} (or -F {QCOW2})",
        )
    check_folder(path, name, folders)
    if len(above) > CHAIN_LIMIT:
        raise _unusable(
            f"more than {CHAIN_LIMIT} images lie on each other, of which {where!r} is the next",
            f"make one image of all: {convert_command(above[0], QCOW2, 'NEW.qcow2')}",
        )
    return where


def find_data(path: str, name: str, folders: tuple[str, ...] = ()) -> str:
    """Where the external data file is that the image at ``path`` calls ``name``; it lies where
    `check_folder` allows it.

    Raises `BimetalError` for what cannot be one.
    """
    where = os.path.join(os.path.dirname(path), name)
    if PROTOCOL.match(name):
        raise _unusable(
            f"the data of the image {path!r} is in {name!r}, which is not the path of a file",
            "make another image of it with the program that made this one",
        )
    where = check_folder(path, name, folders)
    if same_file(where, path):
        raise _unusable(
            f"the image {path!r} names itself as its data file", "get the image once more"
        )
    check_folder(path, name, folders)
    return where


def _unusable(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.DATA)
