"""Which folders the files may lie in that an image names: backing files, and parts of its disk.

Such names come from whoever made the image, and what they lead to is shown to the guest. So they
lead no further than to the folder of the image and what is below it, and to the folders that the
user names; links are followed before that is judged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from bimetal.backends.block.commands import quoted
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["BACKING_FOLDERS", "check_folder"]

BACKING_FOLDERS = "BIMETAL_BACKING_FOLDERS"
"""The variable of the environment with folders for all images, separated by colons."""


def check_folder(image: str, name: str, folders: Iterable[str]) -> str:
    """The path of the file that the image at ``image`` calls ``name``. Raises `BimetalError` if it
    lies neither near the image nor in one of ``folders`` or those of the environment."""
    where = os.path.join(os.path.dirname(image), name)
    if not os.path.exists(where):
        return where  # to open it says what is wrong
    real = os.path.realpath(where)
    near = [os.path.dirname(os.path.abspath(image)), os.path.dirname(os.path.realpath(image))]
    named = [*folders, *os.environ.get(BACKING_FOLDERS, "").split(os.pathsep)]
    if any(_is_below(real, folder) for folder in (*near, *filter(None, named))):
        return where
    folder = quoted(os.path.dirname(real))
    raise BimetalError(
        f"the image {image!r} names the file {name!r}, which lies outside of its folder",
        f"if that is meant, allow the folder: --backing-folder {folder}, or {BACKING_FOLDERS}="
        f"{folder} in the environment; if you do not know the image, do not use it: the guest "
        "could read that file",
        ExitCode.NO_PERMISSION,
    )


def _is_below(path: str, folder: str) -> bool:
    folder = os.path.realpath(folder)
    return os.path.commonpath((path, folder)) == folder
