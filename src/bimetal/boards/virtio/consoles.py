"""The console of a machine, and ports for programs."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.backends.chars.choose import open_chars
from bimetal.backends.chars.protocol import CharBackend
from bimetal.base.errors import BimetalError
from bimetal.devices.virtio.console import VirtioConsole
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.serial import VirtioSerial
from bimetal.machine.chassis import Chassis
from bimetal.machine.console import ConsoleLine

__all__ = ["console", "consoles", "serial_ports"]


def consoles(m: Chassis) -> Iterator[VirtioDevice]:
    """The console of a machine that has a second line."""
    assert m.hvc is not None
    yield console(m.hvc)


def console(line: ConsoleLine) -> VirtioConsole:
    """The console at the end of ``line``, which tells of the terminal's size if it has one."""
    device = VirtioConsole(line, line.size)
    line.on_resize = device.resize if line.size is not None else None
    return device


def serial_ports(m: Chassis) -> Iterator[VirtioDevice]:
    """The ports for programs in the guest. Raises `BimetalError`."""
    ends: list[CharBackend] = []
    try:
        for port in m.config.ports:
            ends.append(open_chars(port.where))
    except BimetalError:
        for end in ends:
            end.close()
        raise
    for end in ends:
        m.serve(end)
    yield VirtioSerial([(port.name, end) for port, end in zip(m.config.ports, ends, strict=True)])
