"""Documents that come as texts, for verbs that read them from files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from bimetal.control.registry import Command, Parameter
from bimetal.control.verbs import DOCUMENT

__all__ = ["documents_as_files", "is_document"]


def is_document(parameter: Parameter) -> bool:
    """Whether it is a file that is read once."""
    return DOCUMENT in getattr(parameter.type, "__metadata__", ())


@contextmanager
def documents_as_files(
    command: Command, arguments: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """A context in which texts of documents among ``arguments`` are paths of files with that
    text, which no other process sees."""
    with ExitStack() as stack:
        given = dict(arguments)
        for each in command.parameters:
            if is_document(each) and given[each.name]:
                given[each.name] = stack.enter_context(_file(given[each.name]))
        yield given


@contextmanager
def _file(text: str) -> Iterator[str]:
    with open(os.memfd_create("bimetal-document"), "wb") as file:
        file.write(text.encode(errors="surrogatepass"))
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
