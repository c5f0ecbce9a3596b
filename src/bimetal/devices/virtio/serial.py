"""The console device with several ports (virtio 1.2, section 5.3): lines between programs in the
guest and places on the host, each with a name.

Two queues for each port, and two for messages about them. No port is a console; that is another
device, `console`. The host's end of a port is always open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Protocol

from bimetal.base.buffers import pour, scatter
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.state import Stateful
from bimetal.devices.chars import Chars
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.limits import PORTS_LIMIT
from bimetal.devices.virtio.queue import Chain, QueueError

__all__ = ["PortLine", "VirtioSerial"]

MULTIPORT = 1 << 1

CONTROL_RECEIVE, CONTROL_TRANSMIT = 2, 3

DEVICE_READY, PORT_ADD, PORT_READY, PORT_OPEN, PORT_NAME = 0, 1, 3, 6, 7
"""Events that messages tell of (5.3.6.2)."""

MESSAGES_LIMIT = 256
"""Messages that wait for the driver's buffers before its own have to wait too."""

QUEUE_SIZE = 64
INPUT_LIMIT = 4096
OUTPUT_CHUNK = 64 << 10

_CONFIG = Struct("<HHII")
_MESSAGE = Struct("<IHH")
"""Port, event, value."""


class PortLine(Chars, Protocol):
    """The far end of a port."""

    def close(self) -> None:
        """Give everything back. Idempotent."""


class Port(Stateful):
    """One port: its ``name``, the far end, and input that waits for the guest. ``news`` is called
    when there is some."""

    saved = ("waiting", "open")
    fixed = ("name", "line", "_news")

    def __init__(self, name: str, line: PortLine, news: Callable[[], None]):
        self.name, self.line, self._news = name, line, news
        self.waiting = bytearray()
        self.open = False
        """Whether a program in the guest has opened it."""
        line.connect(self._receive, self._room)

    def set_open(self, is_open: bool) -> None:
        """A program in the guest opens or closes it: what waits is for who has it open."""
        self.open = is_open
        if is_open:
            self.line.resume()
        else:
            self.waiting.clear()

    def _room(self) -> int:
        return INPUT_LIMIT - len(self.waiting) if self.open else 0

    def _receive(self, data: bytes) -> None:
        self.waiting += data
        self._news()


class VirtioSerial(VirtioDevice):
    """Ports by name and far end, in their order; the far ends are closed with the device."""

    device_id = 3
    offered = MULTIPORT
    saved = ("ports", "_messages")
    fixed = ("queue_limits",)

    def __init__(self, ports: Sequence[tuple[str, PortLine]]):
        super().__init__()
        if not 0 < len(ports) <= PORTS_LIMIT:
            raise ValueError(f"{len(ports)} ports, of 1 to {PORTS_LIMIT}")
        self.queue_limits = (QUEUE_SIZE,) * (2 + 2 * len(ports))
        self.config[:] = _CONFIG.pack(0, 0, len(ports), 0)
        self.ports = [
            Port(name, line, self._news_of(number)) for number, (name, line) in enumerate(ports)
        ]
        self._messages: list[bytes] = []

    def has_use_for(self, index: int) -> bool:
        if index == CONTROL_RECEIVE:
            return bool(self._messages)
        if index == CONTROL_TRANSMIT:
            return len(self._messages) < MESSAGES_LIMIT
        return bool(index & 1 or self.ports[_port_of(index)].waiting)

    def work_on(self, index: int, chain: Chain) -> Work:
        if index == CONTROL_RECEIVE:
            yield 0
            return scatter(self._messages.pop(0), chain.writable)
        if index == CONTROL_TRANSMIT:
            yield 0
            self._hear(chain)
            return 0
        port = self.ports[_port_of(index)]
        if index & 1:
            yield from self._send(port, chain)
            return 0
        yield 0
        if not chain.writable:
            raise QueueError("a buffer for input is not writable")
        return pour(port.waiting, chain.writable)

    def notified(self, index: int) -> None:
        if index not in (CONTROL_RECEIVE, CONTROL_TRANSMIT) and not index & 1:
            self.ports[_port_of(index)].line.resume()
        elif index == CONTROL_RECEIVE:
            self.look(CONTROL_TRANSMIT)

    def reset(self) -> None:
        super().reset()
        self._messages.clear()
        for port in self.ports:
            port.set_open(False)

    def check_forkable(self) -> None:
        raise BimetalError(
            "the guest has serial ports, and copies of it would have the same ones",
            "leave them away",
            ExitCode.UNAVAILABLE,
        )

    def restored(self) -> None:
        super().restored()
        for port in self.ports:
            port.line.resume()

    def close(self) -> None:
        super().close()
        for port in self.ports:
            port.line.close()

    def _news_of(self, number: int) -> Callable[[], None]:
        return lambda: self.look(0 if number == 0 else 2 + 2 * number)

    @staticmethod
    def _send(port: Port, chain: Chain) -> Work:
        for buffer in chain.readable:
            for start in range(0, len(buffer), OUTPUT_CHUNK):
                chunk = bytes(buffer[start : start + OUTPUT_CHUNK])
                port.line.write(chunk)
                yield len(chunk)
        return 0

    def _hear(self, chain: Chain) -> None:
        """A message of the driver's."""
        data = b"".join(bytes(each[: _MESSAGE.size]) for each in chain.readable)
        if len(data) < _MESSAGE.size:
            raise QueueError("a message about ports is too short")
        number, event, value = _MESSAGE.unpack_from(data)
        if event == DEVICE_READY:
            for each in range(len(self.ports) if value else 0):
                self._say(each, PORT_ADD)
        elif number >= len(self.ports):
            self.events.guest_error("a message about a port that there is not")
        elif event == PORT_READY and value:
            self._say(number, PORT_NAME, 1, self.ports[number].name.encode())
            self._say(number, PORT_OPEN, 1)
        elif event == PORT_OPEN:
            self.ports[number].set_open(bool(value))

    def _say(self, number: int, event: int, value: int = 0, more: bytes = b"") -> None:
        self._messages.append(_MESSAGE.pack(number, event, value) + more)
        self.look(CONTROL_RECEIVE)


def _port_of(index: int) -> int:
    """The number of the port that a queue belongs to."""
    return 0 if index < 2 else index // 2 - 1
