"""The virtio devices that hostile guests meet, each with an outside that knows its bounds, and what
each of them does when it works."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.chars.ring import Ring as Line
from bimetal.base.frames import Frame
from bimetal.base.state import plain
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.virtio.balloon import VirtioBalloon
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.console import VirtioConsole
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.gpu import VirtioGpu
from bimetal.devices.virtio.input import VirtioInput, keyboard, tablet
from bimetal.devices.virtio.net import VirtioNet
from bimetal.devices.virtio.ninep import VirtioNinep
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.devices.virtio.serial import VirtioSerial
from bimetal.devices.virtio.vsock import VirtioVsock
from bimetal.devices.virtio.vsock_connection import Connection
from bimetal.devices.virtio.vsock_packets import HEADER
from tests.devices.virtio.cable import STATION, Cable, frame
from tests.devices.virtio.guest import BASE, WRITE, Guest, Ring
from tests.devices.virtio.test_block_aside import Errands

__all__ = ["DEVICES", "GuardedDisk", "Outside", "check_work", "state_of", "uncounted"]

DISK = 64 << 10
TYPED = b"typed before anybody listened" * 100


class GuardedDisk(MemoryDisk):
    """A disk that a wrong offset or length makes fail aloud. Its first half is in the host's
    memory; the rest has to be waited for."""

    alone = False

    def __init__(self) -> None:
        super().__init__(DISK)

    def _guard(self, offset: int, length: int) -> None:
        assert 0 <= offset <= offset + length <= self.size, f"{length} bytes at {offset}"

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._guard(offset, sum(map(len, buffers)))
        super().readv(offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._guard(offset, sum(map(len, buffers)))
        super().writev(offset, buffers)

    def discard(self, offset: int, length: int) -> None:
        self._guard(offset, length)
        super().discard(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._guard(offset, length)
        super().write_zeroes(offset, length)

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        if offset >= DISK // 2:
            return False
        self.readv(offset, buffers)
        return True

    def flushing(self) -> Callable[[], None]:
        return self.flush


class GroupedDisk(GuardedDisk):
    """One that has to be used alone, and where some writes belong together."""

    alone = True
    unsettled = False

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        return offset < DISK // 2 and super().write_now(offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        super().writev(offset, buffers)
        self.unsettled |= offset >= DISK // 2

    def hold(self) -> None: ...

    def settle(self) -> None:
        self.unsettled = False


class Echo:
    """Answers each message with as much of it as there is room for."""

    limit = 8192
    readonly = True

    def answer(self, request: bytes, room: int) -> bytes:
        return (request + bytes(11))[: min(room, self.limit)]

    def reset(self) -> None: ...

    def close(self) -> None: ...

    def save(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None: ...


class Nowhere:
    """Takes what a guest sends to any port of its host, and sends a little more back."""

    def connect(self, device: VirtioVsock) -> None: ...

    def dial(self, port: int) -> Nowhere:
        return self

    def begin(self, end: Connection) -> None:
        end.receive(b"hello" * 100)

    def established(self, port: int) -> None: ...

    def write(self, data: bytes) -> int:
        return len(data) // 2

    def read_on(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


def line() -> Line:
    line = Line(limit=1 << 16)
    line.send(TYPED)
    return line


def net() -> VirtioDevice:
    cable = Cable()
    cable.answer = frame(b"answer")
    return VirtioNet(cable, STATION, pairs=2)


DEVICES: dict[str, Callable[[Errands], VirtioDevice]] = {
    "net": lambda aside: net(),
    "blk": lambda aside: VirtioBlock(GuardedDisk(), "fuzz", aside=aside),
    "blk-queues": lambda aside: VirtioBlock(GuardedDisk(), "fuzz", queues=2, aside=aside),
    "blk-alone": lambda aside: VirtioBlock(GroupedDisk(), "fuzz", queues=2, aside=aside),
    "scsi": lambda aside: VirtioScsi([ScsiDisk(GuardedDisk()), ScsiCdrom()], aside),
    "console": lambda aside: VirtioConsole(line(), (80, 25)),
    "serial": lambda aside: VirtioSerial([("one", line()), ("two", line())]),
    "balloon": lambda aside: VirtioBalloon(),
    "9p": lambda aside: VirtioNinep(Echo(), "fuzz"),
    "vsock": lambda aside: VirtioVsock(Nowhere()),
    "rng": lambda aside: VirtioRng(bytes),
    "gpu": lambda aside: VirtioGpu(64, 64),
    "keyboard": lambda aside: VirtioInput(keyboard()),
    "tablet": lambda aside: VirtioInput(tablet()),
}
"""What makes each device; some do their waiting aside."""


class Outside:
    """What may happen to a device at any time, without a word of its driver."""

    def __init__(self, device: VirtioDevice):
        self._device = device

    def stir(self) -> None:
        """Something happens."""
        match device := self._device:
            case VirtioNet():
                long = [frame(bytes(range(200)))[:100], bytes(3000)]
                assert 0 <= device.receive([Frame([frame()]), Frame(long)] * 3) <= 6
                device.sendable()
                device.set_link(not device.config[6] & 1)
            case VirtioConsole():
                device.resize(132, 43)
            case VirtioBalloon():
                device.want(1)
                device.ask_for_statistics()
            case VirtioVsock():
                device.call(1, Nowhere())
            case VirtioScsi():
                device.units[1].insert(GuardedDisk())  # type: ignore[attr-defined]
            case VirtioInput():
                for code in device.kind.codes[1][:3]:
                    device.press(code, code not in device._down)
                device.point(1, 2)

    def calm(self) -> None:
        """All that can be seen of it from the device is as it was."""
        match device := self._device:
            case VirtioNet():
                device.set_link(True)
            case VirtioConsole():
                device.resize(80, 25)
            case VirtioBalloon():
                device.want(0)
            case VirtioScsi():
                device.units[1].insert(None)  # type: ignore[attr-defined]


UNCOUNTED = frozenset(("config_generation", "_next_port", "events"))
"""What goes on counting over a reset, so that nobody takes the old for the new."""

GIVEN = frozenset(("_transport", "_defer"))
"""What the machine has given to the device, with a state of its own."""


def state_of(device: VirtioDevice) -> dict[str, object]:
    """All that a device knows, as plain values where it is such."""
    left_out = UNCOUNTED | GIVEN
    return {name: _plain(value) for name, value in vars(device).items() if name not in left_out}


def uncounted(state: object) -> object:
    """A saved ``state`` without what goes on counting."""
    if isinstance(state, Mapping):
        return {name: uncounted(value) for name, value in state.items() if name not in UNCOUNTED}
    return [uncounted(each) for each in state] if isinstance(state, list) else state


def _plain(value: object) -> object:
    try:
        return plain(list(value) if isinstance(value, deque) else value)
    except TypeError:
        return type(value).__name__


def check_work(
    device: VirtioDevice, guest: Guest, rings: Sequence[Ring], settle: Callable[[], None]
) -> None:
    """The device, which has just been set up, does its work; ``settle`` has it finished."""
    room = guest.room(64)

    def submit(ring: int, *buffers: tuple[int, int, int]) -> None:
        rings[ring].submit(*buffers)
        settle()

    last = -1
    match device:
        case VirtioBlock():
            submit(0, guest.place(struct.pack("<IIQ", 8, 0, 0)), room)
            assert guest.peek(room)[:4] == b"fuzz"
            last = 0
        case VirtioRng():
            submit(0, room)
            assert guest.peek(room) == bytes(64)
        case VirtioNinep():
            submit(0, guest.place(b"hello"), room)
            assert guest.peek(room)[:5] == b"hello"
        case VirtioSerial():
            submit(2, room)
            submit(3, guest.place(struct.pack("<IHH", 0, 0, 1)))
            assert guest.peek(room)[:8] == struct.pack("<IHH", 0, 1, 0)
            last = 3
        case VirtioScsi():
            inquiry = bytes((1, 0)) + bytes(17) + bytes((0x12, 0, 0, 0, 36)) + bytes(27)
            submit(2, guest.place(inquiry), guest.room(108), room)
            assert guest.peek(room)[8:16] == b"BIMETAL "
        case VirtioBalloon():
            page = BASE + guest.ram.size - 4096
            guest.space.write(page, b"x" * 4096)
            submit(3, (page, 4096, WRITE))
            assert guest.ram.bytes[-4096:] == bytes(4096)
        case VirtioVsock():
            submit(0, room)
            submit(1, guest.place(HEADER.pack(3, 2, 1, 1, 0, 1, 1, 0, 0, 0)))
            assert len(rings[0].completed()) == 1
            last = 1
        case VirtioGpu():
            submit(0, guest.place(struct.pack("<I20x", 0x100)), room)
            assert guest.peek(room)[:4] == struct.pack("<I", 0x1101)
            last = 0
        case VirtioInput():
            submit(0, room)
            device.press(device.kind.codes[1][0], True)
            assert guest.peek(room)[:2] == b"\1\0"
            last = 0
        case VirtioConsole():
            submit(1, guest.place(b"hello"))
        case VirtioNet():
            submit(0, room)
            submit(1, guest.place(bytes(12) + frame(b"hello")))
            assert len(rings[0].completed()) == 1
            submit(len(rings) - 1, guest.place(b"\0\0\1"), room)
            assert guest.peek(room)[0] == 0
        case _:
            raise AssertionError(f"{device} is not known here")
    assert len(rings[last].completed()) == 1
