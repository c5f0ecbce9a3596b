"""The devices of a machine, for programs that look into them while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import wraps
from inspect import isroutine
from typing import Any

from bimetal.base.log import EventLog
from bimetal.base.near import did_you_mean
from bimetal.devices.device import Device
from bimetal.devices.output import Output
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.machine.runner import Runner

__all__ = ["DeviceView", "Devices"]

LIVE = (Device, VirtioDevice, Output, EventLog)
"""Types of a device's attributes that are wrapped in a view as well."""


class DeviceView:
    """A proxy of a device: attributes are read and set, and methods called, under the machine's
    lock. It claims to be an instance of the device's class.

    Lists and dictionaries are copies. Setting a register stores its value without side effects, as
    loading a snapshot does; the methods ``read`` and ``write`` act as a guest's access does. Raises
    AttributeError for what the device does not have, `BimetalError` once the machine is closed.
    """

    __slots__ = ("_runner", "_target")

    def __init__(self, runner: Runner, target: object):
        object.__setattr__(self, "_runner", runner)
        object.__setattr__(self, "_target", target)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._target)

    def __getattr__(self, name: str) -> Any:
        with self._runner.locked():
            try:
                value = getattr(self._target, name)
            except AttributeError:
                raise AttributeError(self._unknown(name), name=name, obj=self) from None
            return self._outward(value)

    def __setattr__(self, name: str, value: object) -> None:
        with self._runner.locked():
            if not hasattr(self._target, name):
                raise AttributeError(self._unknown(name), name=name, obj=self)
            setattr(self._target, name, value)

    def __call__(self, *args: Any) -> Any:
        with self._runner.locked():
            return self._target(*args)

    def __dir__(self) -> list[str]:
        return dir(self._target)

    def __repr__(self) -> str:
        return repr(self._target)

    def _outward(self, value: object) -> Any:
        if isinstance(value, LIVE):
            return DeviceView(self._runner, value)
        if isinstance(value, list):
            return [self._outward(each) for each in value]
        if isinstance(value, dict):
            return copy(value)
        return self._locked(value) if isroutine(value) else value

    def _locked(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **named: Any) -> Any:
            with self._runner.locked():
                return self._outward(method(*args, **named))

        return call

    def _unknown(self, name: str) -> str:
        hint = did_you_mean(name, [each for each in dir(self._target) if each[0] != "_"])
        return f"{self._target!r} has no {name!r}" + (f": {hint}" if hint else "")


class Devices(Mapping[str, Any]):
    """The devices of a machine by name, in the order in which the board put them together."""

    def __init__(self, runner: Runner):
        self._runner = runner

    def __getitem__(self, name: str) -> Any:
        if not isinstance(name, str):
            raise KeyError(f"devices have names, and no {name!r}")
        return DeviceView(self._runner, self._runner.hardware.placements.named(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._runner.hardware.placements.names)

    def __len__(self) -> int:
        return len(self._runner.hardware.placements)

    def one(self, kind: type, name: str = "") -> Any:
        """See `Machine.device`."""
        return DeviceView(self._runner, self._runner.hardware.placements.only(kind, name))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<devices: {', '.join(self)}>"
