"""What is imported when it is first needed: most machines have no use for most kinds of things, and
all of them together take as long to import as a machine takes to start.

Who uses something late imports the real thing too, where only types are checked.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["LateModule", "late", "late_part"]


def late(target: str) -> Callable[..., Any]:
    """What ``target``, a ``module:name``, refers to."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


class LateModule(ModuleType):
    """A module that is imported when something in it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def late_part(target: str, names: str) -> type:
    """A class in place of the one that ``target`` refers to, for a class that inherits from it and
    hardly ever uses it: its members, called ``names`` (separated by spaces), are those of that
    class, whose module is imported when one of them is first asked for."""
    module, _, own_name = target.partition(":")
    members = {name: _LateMember(target, name) for name in names.split()}
    return type(own_name, (), {"__module__": module, **members})


class _LateMember:
    """A member of another class, bound to whatever it is asked for of."""

    def __init__(self, target: str, name: str):
        self._target, self._name = target, name

    def __get__(self, instance: object, owner: type) -> Any:
        own = {} if instance is None else vars(instance)
        if self._name in own:
            return own[self._name]
        member = self._member()
        bind = getattr(type(member), "__get__", None)
        return member if bind is None else bind(member, instance, owner)

    def __set__(self, instance: object, value: object) -> None:
        member = self._member()
        assign = getattr(type(member), "__set__", None)
        if assign is None:
            vars(instance)[self._name] = value
        else:
            assign(member, instance, value)

    def __delete__(self, instance: object) -> None:
        if vars(instance).pop(self._name, self) is self:
            raise AttributeError(self._name)

    def _member(self) -> Any:
        lines: tuple[type, ...] = late(self._target).__mro__  # type: ignore[attr-defined]
        return next(vars(each)[self._name] for each in lines if self._name in vars(each))
