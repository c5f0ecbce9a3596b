"""What users are told when the host fails while something is done to a disk for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["host_failures"]


@contextmanager
def host_failures(what: str) -> Iterator[None]:
    """A context whose OSErrors become `BimetalError`, which says ``what`` has failed."""
    try:
        yield
    except OSError as error:
        raise BimetalError(
            f"{what}: {error.strerror or error}", "check the host's disk", ExitCode.IO_ERROR
        ) from error
