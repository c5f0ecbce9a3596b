"""Reading ELF files with pyelftools, whatever is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from elftools.elf.elffile import ELFFile

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["reading_elf"]


@contextmanager
def reading_elf(data: bytes, name: str) -> Iterator[ELFFile]:
    """The ELF file ``data``. Whatever the library raises inside is a `BimetalError` outside, which
    says that ``name`` is damaged."""
    try:
        yield ELFFile(io.BytesIO(data))
    except BimetalError:
        raise
    except Exception as error:  # the library believes what it reads, and stumbles anywhere
        raise BimetalError(
            f"{name} is a damaged ELF file: {str(error) or type(error).__name__}",
            "build or get the file anew",
            ExitCode.DATA,
        ) from error
