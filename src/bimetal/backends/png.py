"""Pictures as PNG files, by Pillow."""

from __future__ import annotations

from io import BytesIO

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.screen.surface import Picture

__all__ = ["png"]


def png(picture: Picture) -> bytes:
    """The picture as a PNG file. Raises `BimetalError` if the library for it is missing."""
    try:
        image = late("PIL.Image:frombuffer")(
            "RGB", (picture.width, picture.height), picture.pixels(), "raw", "BGRX", 0, 1
        )
    except ImportError as error:
        raise BimetalError(
            "pictures are written by Pillow, which is not installed",
            "install it: pip install 'bimetal[screen]'",
            ExitCode.UNAVAILABLE,
        ) from error
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
