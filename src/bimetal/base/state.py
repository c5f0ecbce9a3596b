"""What the state of a part of a machine is, by declaration: every attribute is one of three things.

    class Kettle(Device):
        saved = ("water", "_boils")     # state: a snapshot has it
        fixed = ("clock", "volume")     # given when the board is built, and never another
        derived = ("_weight",)          # follows from the rest: `restored` works it out anew

An object with an attribute that is none of them cannot become part of a machine, so no device can
forget a part of its state. Registers and outputs are declared already, and saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from bimetal.base.clock import Timer

__all__ = ["BadState", "Stateful", "plain"]


class BadState(ValueError):
    """Values that are not the state of the object that was to have it."""


class Stateful:
    """The base of all that has state.

    ``saved`` attributes are plain values (None, numbers, texts, bytes, and lists, tuples, sets and
    dicts of them), timers, and other stateful objects, alone, in lists or in dicts. Names of base
    classes count too. ``added`` are those that earlier versions did not have, each with the value
    that it takes when a snapshot of such a version is loaded.
    """

    saved: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[tuple[str, ...]] = ()
    derived: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[Mapping[str, object]] = {}

    _saved: ClassVar[tuple[str, ...]] = ()
    _declared_names: ClassVar[frozenset[str]] = frozenset()
    _added: ClassVar[Mapping[str, object]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        lines = [each for each in reversed(cls.__mro__) if issubclass(each, Stateful)]

        def told(kind: str) -> list[str]:
            return [name for each in lines for name in vars(each).get(kind, ())]

        cls._saved = tuple(dict.fromkeys(told("saved")))
        cls._declared_names = frozenset((*cls._saved, *told("fixed"), *told("derived")))
        cls._added = {
            name: value for each in lines for name, value in vars(each).get("added", {}).items()
        }

    def save(self) -> dict[str, Any]:
        """The state as plain values, for a snapshot. The object goes on as if nothing was asked."""
        return {name: plain(getattr(self, name)) for name in self._saved}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. Raises `BadState` if ``state`` is something else."""
        who = type(self).__name__
        if not isinstance(state, Mapping):
            raise BadState(f"{who} has no state")
        for name in self._saved:
            value = state.get(name, self._added.get(name, _ABSENT))
            if value is _ABSENT:
                raise BadState(f"{who} has no {name!r}")
            taken = _taken(f"{who}.{name}", getattr(self, name), value)
            if taken is not _IN_PLACE:
                setattr(self, name, taken)
        self.restored()

    def restored(self) -> None:
        """All that is saved was loaded: work out what is derived, and go on with what was under
        way. Outputs have the levels that they had; whom they lead to is told afterwards."""

    def undeclared(self) -> Iterator[str]:
        """The attributes, with their class, of which nothing is said, here and in parts."""
        for name, value in vars(self).items():
            if name not in self._declared_names:
                yield f"{type(self).__name__}.{name}"
            elif name in self._saved:
                for part in _parts(value):
                    if isinstance(part, Stateful):
                        yield from part.undeclared()


_ABSENT, _IN_PLACE = object(), object()


def plain(value: Any) -> Any:
    """``value`` as plain values of which nothing is shared with it."""
    if isinstance(value, bool | str | bytes | type(None)):
        return value
    if isinstance(value, int):
        return int(value)  # a register's value knows its fields
    if isinstance(value, bytearray):
        return bytearray(value)
    if isinstance(value, Stateful):
        return value.save()
    if isinstance(value, Timer):
        return value.deadline
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)([plain(each) for each in value])
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    raise TypeError(f"{value!r} is no plain value, no timer and has no state of its own")


def _parts(value: object) -> list[Stateful | Timer]:
    """The stateful objects and timers in what an attribute holds."""
    if isinstance(value, Stateful | Timer):
        return [value]
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in held if isinstance(each, Stateful | Timer)]


def _taken(where: str, present: Any, value: Any) -> Any:
    """What an attribute with the value ``present`` holds from now on; `_IN_PLACE` if it is the same
    object. Raises `BadState`."""
    if isinstance(present, Stateful | Timer):
        _load_part(where, present, value)
        return _IN_PLACE
    if present == value == {}:
        return _IN_PLACE  # others may hold it, too, and parts come into it later
    if parts := _parts(present):
        held = present if isinstance(present, dict) else dict(enumerate(present))
        given = dict(enumerate(value)) if isinstance(value, list) else value
        if not isinstance(given, dict) or given.keys() != held.keys() or len(parts) != len(held):
            raise BadState(f"{where} has {len(parts)} parts")
        for key, part in held.items():
            _load_part(where, part, given[key])
        return _IN_PLACE
    if present is not None and value is not None and _kind(present) is not _kind(value):
        raise BadState(f"{where} cannot be {value!r:.40}")
    return plain(value)


def _load_part(where: str, part: Stateful | Timer, state: Any) -> None:
    if isinstance(part, Stateful):
        part.load(state)
    elif state is None:
        part.cancel()
    elif _kind(state) is int:
        part.arm(state)
    else:
        raise BadState(f"{where} is no moment: {state!r:.40}")


def _kind(value: object) -> type:
    return int if isinstance(value, int) else type(value)
