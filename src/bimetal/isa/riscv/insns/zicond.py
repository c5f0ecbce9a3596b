"""Zicond: integer conditional operations (volume I, chapter 12)."""

from __future__ import annotations

from ....ir.value import select
from .i import OP, register

register("zicond", "czero.eqz", "0000111", "101", lambda a, b: select(b == 0, 0, a), OP)
register("zicond", "czero.nez", "0000111", "111", lambda a, b: select(b == 0, a, 0), OP)
