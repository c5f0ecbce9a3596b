"""What a machine shows on its screen: a part of `Machine`."""

from __future__ import annotations

import os
from os import PathLike, fsdecode

from bimetal.backends.png import png
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.assembly import Assembly
from bimetal.screen.screen import Screen
from bimetal.screen.surface import Picture
from bimetal.snapshot.replacing import replacing

__all__ = ["Screens"]


class Screens:
    """Methods for the screen of a machine that has one, see `Equipment.video`."""

    _parts: Assembly

    def screendump(self, path: str | PathLike[str]) -> None:
        """Write what is on the screen to the file ``path``, as PNG. Raises `BimetalError` if there
        is no screen, if nothing is shown on it yet, or if the file cannot be written, and then an
        older file there is as it was."""
        data = png(self._picture())
        try:
            with replacing(fsdecode(path)) as fd, os.fdopen(os.dup(fd), "wb") as file:
                file.write(data)
        except OSError as error:
            raise BimetalError(
                f"the picture cannot be written to {fsdecode(path)}: {error.strerror or error}",
                "choose another path, or make room there",
                ExitCode.IO_ERROR,
            ) from error

    def _picture(self) -> Picture:
        """What is on the screen now."""
        runner = self._parts.built()
        screen = self._screen()
        with runner.locked():
            surface = screen.surface
            if surface is not None:
                return surface.copy()
        raise BimetalError(
            "the guest shows nothing on its screen yet",
            "wait until it has started, and see whether it has a driver for its display device",
            ExitCode.UNAVAILABLE,
        )

    def _screen(self) -> Screen:
        screen = self._parts.built().hardware.screen
        if screen is None:
            raise BimetalError(
                "this machine has no screen",
                "give it one before it starts: --video, or vm.video()",
                ExitCode.USAGE,
            )
        return screen
