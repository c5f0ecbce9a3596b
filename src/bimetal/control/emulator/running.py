"""Options about the process and the run: names, how it begins, how it ends."""

from __future__ import annotations

import re
from uuid import UUID

from bimetal.control.emulator.drivers import DRIVERS
from bimetal.control.emulator.grammar import read_words, wrong
from bimetal.control.emulator.order import Order

__all__ = [
    "read_S",
    "read_action",
    "read_audiodev",
    "read_boot",
    "read_daemonize",
    "read_global",
    "read_incoming",
    "read_loadvm",
    "read_name",
    "read_no_reboot",
    "read_no_shutdown",
    "read_nodefaults",
    "read_nographic",
    "read_pidfile",
    "read_rtc",
    "read_uuid",
]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def read_name(order: Order, option: str, value: str) -> None:
    """What the machine is called. ``debug-threads`` changes nothing: threads always have names."""
    words = read_words(option, value, "guest")
    order.name = words.text("guest")
    words.ignore("debug-threads")
    words.only("process", "")
    words.finish()


def read_uuid(order: Order, option: str, value: str) -> None:
    """Which machine it is."""
    if not _UUID.fullmatch(value):
        raise wrong(option, f"{value[:80]!r} is no UUID", "write 8-4-4-4-12 hexadecimal digits")
    order.uuid = UUID(value)


def read_S(order: Order, option: str, value: str) -> None:
    """Start with the CPUs stopped, until ``cont``."""
    order.paused = True


def read_daemonize(order: Order, option: str, value: str) -> None:
    """Go on as another process once the machine is there."""
    order.daemon = True


def read_pidfile(order: Order, option: str, value: str) -> None:
    """Where the number of the process is written."""
    order.pid_file = value


def read_nographic(order: Order, option: str, value: str) -> None:
    """No window; the console is at the terminal unless something else is said."""
    order.graphic = False


def read_nodefaults(order: Order, option: str, value: str) -> None:
    """No device that nobody has asked for."""
    order.defaults = False


def read_no_shutdown(order: Order, option: str, value: str) -> None:
    """Stay when the guest has switched off."""
    order.stays = True


def read_no_reboot(order: Order, option: str, value: str) -> None:
    """A guest that resets the machine ends it."""
    order.machine["reboot"] = False


def read_action(order: Order, option: str, value: str) -> None:
    """The same in newer words: what follows when the guest resets the machine, or ends."""
    words = read_words(option, value)
    reboot, shutdown = words.text("reboot", "reset"), words.text("shutdown", "poweroff")
    for name, said, known in (
        ("reboot", reboot, ("reset", "shutdown")),
        ("shutdown", shutdown, ("poweroff", "pause")),
    ):
        if said not in known:
            raise wrong(option, f"{name}={said[:80]} is not there", f"write {' or '.join(known)}")
    order.machine["reboot"] = reboot == "reset"
    order.stays = shutdown == "pause"
    words.only("panic", "shutdown")
    words.finish()


def read_loadvm(order: Order, option: str, value: str) -> None:
    """Begin in a state that the disks keep."""
    order.loadvm = value


def read_incoming(order: Order, option: str, value: str) -> None:
    """Wait for a machine that comes from another process, or from a file: from where, or ``defer``
    if ``migrate-incoming`` says it."""
    if not value:
        raise wrong(option, "there is no place", "write defer, tcp:HOST:PORT, unix:PATH or fd:N")
    order.incoming = value


def read_rtc(order: Order, option: str, value: str) -> None:
    """The clock of the guest, which shows the host's UTC and runs whether the guest does or not.
    How lost ticks are made up for means nothing: none are lost."""
    words = read_words(option, value)
    words.only("base", "utc")
    words.only("clock", "host")
    words.ignore("driftfix")
    words.finish()


def read_boot(order: Order, option: str, value: str) -> None:
    """In which order firmware looks for something to start: it is the guest's, and decides itself.
    So nothing but what it does anyway can be asked for."""
    words = read_words(option, value, "order")
    words.ignore("strict")
    words.only("order", "", "c", "d", "cd", "dc")
    words.only("menu", "off")
    words.finish()


def read_global(order: Order, option: str, value: str) -> None:
    """A property of all devices of a type, which changes nothing if no board has such a device."""
    driver = value.partition(".")[0] if "driver=" not in value else ""
    if not driver:
        driver = read_words(option, value).needed("driver")
    if driver in DRIVERS:
        raise wrong(option, f"properties of all {driver} at once", "write them behind each -device")


def read_audiodev(order: Order, option: str, value: str) -> None:
    """Where sound would go: there is none."""
    words = read_words(option, value, "driver")
    words.only("driver", "none")
    words.needed("id")
    words.finish()
