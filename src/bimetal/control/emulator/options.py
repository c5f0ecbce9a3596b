"""The options of the command line: which there are, and where it is said what each means.

An option is a function of the order and the option's value, in the file of its family, which is
imported when the option is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.near import choose_from
from bimetal.control.emulator.meaningless import MEANINGLESS
from bimetal.control.emulator.order import Order
from bimetal.control.emulator.targets import Target

__all__ = ["OPTIONS", "Option", "names_told", "read_command_line"]

LIMIT = 10_000
"""Options in a line."""


class Option(Struct, frozen=True):
    """What ``reader``, a ``module:function`` below this package, makes of the option, which has a
    value if it ``takes`` one."""

    reader: str
    takes: bool = True

    def read(self, order: Order, name: str, value: str) -> None:
        """Put what it says into the order. Raises `BimetalError`."""
        reader: Callable[[Order, str, str], None] = late(f"bimetal.control.emulator.{self.reader}")
        reader(order, name, value)


def _family(module: str, *names: str, takes: bool = True) -> dict[str, Option]:
    """Options that are read by the functions of a file that are called like them."""
    return {name: Option(f"{module}:read_{name.replace('-', '_')}", takes) for name in names}


OPTIONS: Mapping[str, Option] = {
    **_family("machines", "machine", "cpu", "smp", "m", "accel"),
    "M": Option("machines:read_machine"),
    **_family("machines", "enable-kvm", "no-acpi", takes=False),
    **_family("software", "kernel", "initrd", "append", "dtb", "bios"),
    **_family("chars", "chardev", "serial", "monitor", "qmp", "mon"),
    **_family("disks", "drive", "blockdev", "cdrom"),
    "hda": Option("disks:read_disk"),
    "hdb": Option("disks:read_disk"),
    **_family("disks", "snapshot", takes=False),
    **_family("networks", "netdev", "nic", "net"),
    **_family("shares", "fsdev", "virtfs"),
    **_family("devices", "device", "object", "usbdevice"),
    **_family("devices", "usb", takes=False),
    **_family("screens", "vnc", "display"),
    **_family("running", "name", "uuid", "pidfile", "loadvm", "incoming", "rtc", "boot"),
    "sandbox": Option("sandbox:read_sandbox"),
    **_family("running", "action", "global", "audiodev"),
    **_family("running", "S", "daemonize", "nographic", "nodefaults", takes=False),
    **_family("running", "no-shutdown", "no-reboot", takes=False),
    **_family("lookups", "version", "help", takes=False),
    "h": Option("lookups:read_help", takes=False),
}
"""All options that mean something, by name without the hyphen."""

SANDBOX = "sandbox"


def names_told() -> list[str]:
    """The names of the options that clients are told of: libvirt has all confined that can be."""
    able = late("bimetal.control.sandboxing:can_confine")()
    return sorted({*OPTIONS, *MEANINGLESS}.difference(() if able else (SANDBOX,)))


def read_command_line(target: Target, words: Sequence[str]) -> Order:
    """What ``words`` behind the name of the program of ``target`` ask for. Raises
    `BimetalError`."""
    order = Order(target)
    left = list(words)
    if len(left) > LIMIT:
        raise _refused(f"a line of {len(left)} words", "write less")
    while left:
        word = left.pop(0)
        if not word.startswith("-"):  # an image by itself is that of a disk
            OPTIONS["hda"].read(order, "hda", word)
            continue
        name = word[2:] if word.startswith("--") else word[1:]
        if not name:
            raise _refused(f"{word!r} is no option", "write the name of one behind it")
        known = OPTIONS.get(name)
        meaningless = MEANINGLESS.get(name)
        if known is None and meaningless is None:
            raise _refused(
                f"the option -{name[:80]} is not there",
                choose_from(name[:80], [*OPTIONS, *MEANINGLESS]),
            )
        takes = known.takes if known is not None else meaningless is not None and meaningless.takes
        if takes and not left:
            raise _refused(f"-{name} has no value", "write one behind it")
        value = left.pop(0) if takes else ""
        if known is not None:
            known.read(order, name, value)
        elif meaningless is not None:
            meaningless.check(name, value)
    return order


def _refused(what: str, remedy: str) -> BimetalError:
    return BimetalError(what, remedy, ExitCode.USAGE)
