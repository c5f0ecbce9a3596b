"""Bimetal: virtual machines in Python. These names are the public interface.

Each is imported when it is first used, so that ``import bimetal`` and ``bimetal --help`` are
quick: a machine needs LLVM, the help text does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bimetal.base.errors import BimetalError

__version__ = "0.1.0"

_HOMES = {
    "BimetalError": "bimetal.base.errors",
}

__all__ = ["BimetalError"]


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'bimetal' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
