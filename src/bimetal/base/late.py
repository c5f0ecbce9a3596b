"""What is imported when it is first needed: most machines have no use for most kinds of things, and
all of them together take as long to import as a machine takes to start."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["late"]


def late(target: str) -> Callable[..., Any]:
    """What ``target``, a ``module:name``, refers to."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]
