"""The tree of objects, as far as clients look at it: devices by the ids that they were given."""

from __future__ import annotations

from typing import Annotated, Any

from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["list_properties"]

PERIPHERAL = "/machine/peripheral"
PROCESSOR = "/machine/unattached/device["


class ObjectProperty(Answer):
    """A property of an object, or an object below it."""

    name: Annotated[str, "its name"]
    type: Annotated[str, "the type of its value; child<...> for an object"]


@MACHINE.command("qom-list")
def list_properties(
    vm: Managed, path: Annotated[str, "where the object is in the tree"]
) -> list[ObjectProperty]:
    """List what is below an object of the tree, and what can be asked of it. DeviceNotFound if
    there is none."""
    if path == PERIPHERAL:
        with vm.lock:
            return [ObjectProperty(name=name, type="child<device>") for name in vm.devices]
    return [ObjectProperty(name=name, type="string") for name in _values(vm, path)]


@MACHINE.command("qom-get")
def get_property(
    vm: Managed,
    path: Annotated[str, "where the object is in the tree"],
    property: Annotated[str, "what is asked of it"],
) -> Any:
    """Tell the value of a property of an object. DeviceNotFound if there is no such object."""
    values = _values(vm, path)
    if property not in values:
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"Property '{path[:80]}.{property[:80]}' not found",
            "qom-list lists those that there are",
            ExitCode.USAGE,
        )
    return values[property]


def _values(vm: Managed, path: str) -> dict[str, Any]:
    """The properties of an object. Raises `CommandFailed` if there is none."""
    if path.startswith(f"{PERIPHERAL}/"):
        name = path.removeprefix(f"{PERIPHERAL}/").partition("/")[0]
        with vm.lock:
            if name in vm.devices:
                return {"type": vm.devices[name]}
    if path.startswith(PROCESSOR):
        number = path.removeprefix(PROCESSOR).removesuffix("]")
        if number.isdecimal() and int(number[:9]) < len(vm.machine.cpus):
            return {"type": f"{vm.isa}-cpu"}
    raise CommandFailed(
        ErrorClass.DEVICE_NOT_FOUND,
        f"Device '{path[:80]}' not found",
        "qom-list /machine/peripheral lists those that there are",
        ExitCode.USAGE,
    )
