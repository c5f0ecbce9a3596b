"""What users are told when the host fails while something is done for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["host_failures"]


@contextmanager
def host_failures(what: str, remedy: str = "check the host's disk") -> Iterator[None]:
    """A context whose OSErrors become `BimetalError`, which says ``what`` has failed, and what the
    ``remedy`` is."""
    try:
        yield
    except OSError as error:
        raise BimetalError(
            f"{what}: {error.strerror or error}", remedy, ExitCode.IO_ERROR
        ) from error
