"""Processor models: ``rv64``, which has all that is described, and the same without some of it."""

from __future__ import annotations

from msgspec import Struct

from ..changes import taken_away
from .extensions import BUILT_ON, FEATURES

__all__ = ["MODELS", "Model", "processor"]

MODELS = ("rv64",)


class Model(Struct, frozen=True):
    """A processor without the extensions that it ``lacks``."""

    lacks: frozenset[str] = frozenset()
    physical_bits: int = 64
    bits: int = 64


def processor(name: str) -> Model:
    """A model, possibly without extensions: ``rv64,-zbb`` also removes those that have instructions
    in common with it. Raises `BimetalError` for other changes."""
    base = name.partition(",")[0]
    return Model() if name == base else Model(taken_away(name, base, FEATURES, (), BUILT_ON))
