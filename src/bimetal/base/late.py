"""What is imported when it is first needed: most machines have no use for most kinds of things, and
all of them together take as long to import as a machine takes to start."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["LateModule", "late"]


def late(target: str) -> Callable[..., Any]:
    """What ``target``, a ``module:name``, refers to."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


class LateModule(ModuleType):
    """A module that is imported when something in it is first asked for. Who uses one imports the
    real one too, where only types are checked."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)
