"""Options for devices and for the objects that they refer to."""

from __future__ import annotations

from bimetal.base.near import choose_from
from bimetal.control.emulator.drivers import DRIVERS, OBJECTS
from bimetal.control.emulator.grammar import read_words, wrong
from bimetal.control.emulator.lookups import HELP, list_devices, list_objects, list_properties
from bimetal.control.emulator.order import Order

__all__ = ["read_device", "read_object", "read_usb", "read_usbdevice"]

INPUTS = ("keyboard", "tablet", "mouse")


def read_device(order: Order, option: str, value: str) -> None:
    """A device."""
    words = read_words(option, value, "driver")
    driver = words.needed("driver")
    if driver in HELP:
        list_devices(order.target)
    if driver not in DRIVERS:
        raise wrong(
            option, f"there is no device {driver[:80]!r}", choose_from(driver[:80], DRIVERS)
        )
    if any(each in words for each in HELP):
        list_properties(driver)
    words.option = f"{option} {driver}"
    order.devices.append((DRIVERS[driver], words))


def read_usb(order: Order, option: str, value: str) -> None:
    """A USB controller."""
    order.usb = True


def read_usbdevice(order: Order, option: str, value: str) -> None:
    """An input device on USB."""
    if value not in INPUTS:
        raise wrong(option, f"{value[:80]!r} is not there", choose_from(value[:80], INPUTS))
    order.usb_inputs.append(value)


def read_object(order: Order, option: str, value: str) -> None:
    """An object, to which something else refers by its id."""
    words = read_words(option, value, "qom-type")
    kind = words.needed("qom-type")
    if kind in HELP:
        list_objects()
    if kind not in OBJECTS:
        raise wrong(option, f"there is no {kind[:80]!r}", choose_from(kind[:80], OBJECTS))
    if any(each in words for each in HELP):
        list_properties(kind)
    name = words.needed("id")
    words.option = f"{option} {kind}"
    if kind == "secret":
        # Whatever would use it is refused by its own name.
        words.ignore("data", "file", "format", "keyid", "iv")
    elif kind.startswith("rng-"):
        words.only("filename", "/dev/urandom", "/dev/random", "/dev/hwrng")
    else:
        _read_memory(order, name, words.size("size"))
        words.ignore("prealloc", "share", "merge", "dump")
    words.finish()
    order.objects[name] = kind


def _read_memory(order: Order, name: str, size: int | None) -> None:
    if size is None:
        raise wrong("object", f"the memory {name[:80]!r} has no size", "add size=")
    order.memories[name] = size
