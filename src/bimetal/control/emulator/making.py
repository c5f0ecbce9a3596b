"""A machine as it was ordered, before it has its devices."""

from __future__ import annotations

from typing import Any

from bimetal.backends.chars.held import HeldOutput
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.emulator.chars import BY_NAME, chardev_place, serial_place
from bimetal.control.emulator.grammar import wrong
from bimetal.control.emulator.order import Order
from bimetal.machine.machine import Machine

__all__ = ["monitor_places", "new_machine"]

MEMORY = 128 << 20
"""Bytes of memory of a machine for which nothing is said."""

FIRMWARE, VARIABLES = 0, 1
RAW = ("", "raw")


def new_machine(order: Order) -> tuple[Machine, str]:
    """The machine without its devices, and what clients call its console. Raises
    `BimetalError`."""
    kind = order.kind or order.target.machines[0]
    options: dict[str, Any] = {"memory": MEMORY, "accel": "jit", **order.machine}
    if order.target.unfinished and "accel" not in order.machine:
        raise BimetalError(
            f"{order.target.program} has no accelerator that is chosen by itself",
            "add -accel kvm, or -accel tcg, under which programs may still go wrong",
            ExitCode.UNAVAILABLE,
        )
    _check_memory(order, options["memory"])
    board = dict(order.board_options)
    if not order.acpi and "acpi" in kind.options:
        board["acpi"] = "off"
    if kind.pci and _wants_pci(order):
        board["bus"] = "pci"
    words = [kind.board, *(f"{name}={value}" for name, value in board.items())]
    label, place = _console(order)
    made: Machine = late("bimetal.machine.machine:Machine")(
        ",".join(words), serial=place, flash=_flash(order), **options
    )
    return made, label


def monitor_places(order: Order, *, people: bool = False) -> list[str]:
    """Where clients find the monitors, or ``people`` those for them. Raises `BimetalError`."""
    places = []
    for each in order.monitors:
        if each.people is not people:
            continue
        place = each.place
        if each.chardev:
            place = chardev_place(order, "mon", each.chardev)
            if place == "none":
                continue
        places.append(place)
    return places


def _console(order: Order) -> tuple[str, str | HeldOutput]:
    """What the serial port is called, and where it leads."""
    if len(order.serials) > 1 and any(each != "none" for each in order.serials[1:]):
        raise wrong("serial", "the machine has one serial port", "leave the others away")
    if order.serials:
        text = order.serials[0]
        label = text.removeprefix(BY_NAME) if text.startswith(BY_NAME) else "serial0"
        return label, serial_place(order, text)
    if order.graphic and order.defaults:
        raise BimetalError(
            "there is no window in which the machine could be",
            "add -nographic for a console at the terminal, or -vnc :0 or -display none",
            ExitCode.UNAVAILABLE,
        )
    return "serial0", "stdio" if order.defaults and not order.viewers else "none"


def _check_memory(order: Order, size: int) -> None:
    name = order.memory_backend
    if name and order.memories.get(name) != size:
        raise wrong(
            "machine",
            f"memory-backend={name[:80]} is not the {size} bytes of -m",
            "say -object memory-backend-ram of that id and size",
        )


def _wants_pci(order: Order) -> bool:
    """Whether virtio devices are on PCI, and not in the board's own slots: as the command line
    says, which cannot have both."""
    virtio = [driver for driver, _ in order.devices if driver.name.startswith("virtio-")]
    on_pci = {
        driver.pci
        for driver in virtio
        if driver.name.endswith(("-device", "transitional")) or driver.name.endswith("-pci")
    }
    if len(on_pci) > 1:
        raise wrong(
            "device",
            "virtio devices are on PCI, and in slots of the board",
            "write -pci at the end of all of them, or -device",
        )
    return on_pci != {False}


def _flash(order: Order) -> tuple[str, ...]:
    """The flash images: firmware, and a file for its variables."""
    chips: dict[int, str] = {}
    for number, name in enumerate(order.flash_nodes):
        chips[number] = _raw_path(order, name)
    drives = [drive for drive in order.drives if drive.interface == "pflash"]
    for number, drive in enumerate(drives):
        if drive.format not in (None, "raw"):
            raise wrong("drive", f"flash of the format {drive.format}", "write format=raw")
        chips[drive.unit if drive.unit >= 0 else number] = drive.path
    if chips and FIRMWARE not in chips:
        raise wrong("drive", "flash for variables without firmware", "add unit=0")
    return tuple(chips[number] for number in sorted(chips))


def _raw_path(order: Order, name: str) -> str:
    """The path of the raw image in the node of that name."""
    nodes = {str(node.get("node-name")): node for node in order.nodes}
    node = nodes.get(name, {})
    if node.get("driver") == "raw":
        inner = node.get("file")
        node = inner if isinstance(inner, dict) else nodes.get(str(inner), {})
    path = node.get("filename")
    if node.get("driver") != "file" or not isinstance(path, str):
        raise wrong("machine", f"{name[:80]!r} is no raw image in a file", "say -blockdev")
    return path
