"""A SCSI unit on USB (Universal Serial Bus Mass Storage Class, Bulk-Only Transport 1.0).

A command comes in a packet of 31 bytes, its data follow, and a packet of 13 bytes says how it went.
The data of one command are kept here until they are wanted, so their number has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from struct import Struct
from typing import ClassVar

from bimetal.base.buffers import pour, scatter, split, total
from bimetal.devices.answers import Answer
from bimetal.devices.scsi.sense import BAD_FIELD, IO_ERROR, CheckCondition
from bimetal.devices.scsi.unit import Command, Unit, Work
from bimetal.devices.usb.descriptors import BULK, IN, Identity, Interface, Pipe, Speed
from bimetal.devices.usb.device import Request, Stall, UsbDevice
from bimetal.devices.virtio.aside import Aside, Errand
from bimetal.devices.virtio.patient import attempt
from bimetal.memory.contents import Area, Stored

__all__ = ["DATA_LIMIT", "UsbStorage"]

MASS_STORAGE, SCSI, BULK_ONLY = 0x08, 0x06, 0x50
FROM_HOST, TO_HOST = 2, IN | 1
PACKET = 512
RESET, MOST_UNITS = 0xFF, 0xFE
CLASS, INTERFACE = 1, 1

DATA_LIMIT = 16 << 20
"""Bytes of one command; drivers ask for a sixteenth of that at most."""

_COMMAND = Struct("<IIIBBB16s")
"""Signature, tag, bytes of data, direction, unit, length of the CDB, CDB (5.1)."""
_STATUS = Struct("<IIIB")
"""Signature, tag, bytes that were not used, status (5.2)."""
COMMAND_SIGNATURE, STATUS_SIGNATURE = 0x4342_5355, 0x5342_5355
PASSED, FAILED = 0, 1
REQUEST_SENSE = 0x03
Step = int | Callable[[], None]
NOTHING_WRONG = bytes((0x70, 0, 0, 0, 0, 0, 0, 10)) + bytes(10)

READY, LISTENING, WORKING, TALKING, TELLING, LOST = range(6)
"""What it does: waits for a command, takes its data, carries it out, gives data, tells how it went;
or it waits for a reset, as something else came than a command."""


class UsbStorage(UsbDevice):
    """A device with one ``unit``, which is closed with it. What waits for the host is done
    ``aside``, or if that is None, at once."""

    identity = Identity(0x46F4, 0x0001, "Bimetal", "Bimetal USB storage")
    saved: ClassVar[tuple[str, ...]] = (
        *("unit", "sense", "phase", "cdb", "tag", "inwards"),
        *("wanted", "moved", "used", "data", "status"),
    )
    derived = ("_aside", "_steps", "_errand", "_into")

    def __init__(
        self, unit: Unit, speed: Speed, serial: str = "", aside: Aside | None = None
    ) -> None:
        pipes = (Pipe(TO_HOST, BULK, PACKET), Pipe(FROM_HOST, BULK, PACKET))
        interface = Interface(MASS_STORAGE, SCSI, BULK_ONLY, pipes)
        super().__init__(interface, speed, serial or "1")
        self.unit, self._aside = unit, aside
        self.sense = NOTHING_WRONG
        """What was wrong with the last command that failed."""
        self._errand: Errand | None = None
        self._forget()

    def _forget(self) -> None:
        """Be ready for a command, whatever was under way."""
        self._steps: Work | None = None
        """What is left of the command that is carried out; None if that is to begin anew."""
        self._into = bytearray()
        """Room for what the command reads."""
        if self._errand is not None:
            self._errand.finish()
        self.phase, self.cdb, self.tag, self.inwards = READY, b"", 0, False
        self.wanted = self.moved = self.used = 0
        """Bytes that the host wants to move, has moved, and that mattered to the command."""
        self.data = bytearray()
        """What the host has sent, or is still to get."""
        self.status = PASSED

    # The bus

    def transfer(self, address: int, buffers: Sequence[memoryview]) -> int | None:
        if not self.configured or address in self.halted:
            raise Stall
        self.try_again()
        if address == FROM_HOST:
            if self.phase == LISTENING:
                return self._listen(buffers)
            return self._obey(buffers) if self.phase == READY else None
        if address != TO_HOST:
            raise Stall
        if self.phase == TALKING:
            return self._talk(buffers)
        return self._tell(buffers) if self.phase == TELLING else None

    def answer(self, request: Request, data: bytes) -> bytes:
        if request.type != CLASS or request.recipient != INTERFACE:
            raise Stall
        if request.number == MOST_UNITS and request.is_in:
            return bytes(1)
        if request.number == RESET and not request.is_in:
            self._forget()
            return b""
        raise Stall

    def configure(self) -> None:
        self._forget()

    def reset(self) -> None:
        super().reset()
        self._forget()
        self.unit.reset()
        self.sense = NOTHING_WRONG

    def resume(self, address: int) -> None:
        if self.phase == LOST:  # until it is reset (6.6.1)
            self.halted.add(address)

    def _obey(self, buffers: Sequence[memoryview]) -> int:
        """A command comes."""
        packet = b"".join(bytes(each[: _COMMAND.size + 1]) for each in buffers[: _COMMAND.size])
        fields = _COMMAND.unpack(packet) if len(packet) == _COMMAND.size else (0,) * 7
        signature, tag, wanted, direction, unit, length, cdb = fields
        if signature != COMMAND_SIGNATURE or unit or not 0 < length <= 16:
            self.events.guest_error("something else than a command for a USB disk")
            self.phase = LOST
            self.halted |= {FROM_HOST, TO_HOST}
            raise Stall
        self._forget()
        self.tag, self.wanted, self.inwards = tag, wanted, bool(direction & IN)
        self.cdb = cdb[:length].ljust(16, b"\0")
        if wanted and not self.inwards:
            self.phase = LISTENING
        else:
            self._start()
        return len(packet)

    def _listen(self, buffers: Sequence[memoryview]) -> int:
        count = min(total(buffers), self.wanted - self.moved)
        if self.wanted <= DATA_LIMIT:
            self.data += b"".join(split(buffers, count)[0])
        self.moved += count
        if self.moved == self.wanted:
            self._start()
        return count

    def _talk(self, buffers: Sequence[memoryview]) -> int:
        count = pour(self.data, buffers)
        self.moved += count
        # A short packet ends the data; without one the host asks for all that it wants.
        if count < total(buffers) or self.moved == self.wanted:
            self.phase = TELLING
        return count

    def _tell(self, buffers: Sequence[memoryview]) -> int:
        status = _STATUS.pack(STATUS_SIGNATURE, self.tag, self.wanted - self.used, self.status)
        self._forget()
        self.ready(FROM_HOST)
        return scatter(status, buffers)

    # Commands

    def _start(self) -> None:
        """Carry out the command, whose data are there."""
        self.phase, self.moved = WORKING, 0
        if self.cdb[0] == REQUEST_SENSE:
            said, self.sense = self.sense[: self.cdb[4]], NOTHING_WRONG
            room = self.wanted if self.inwards else 0
            self._finish(said[:room], min(len(said), room))
            return
        if self.wanted > DATA_LIMIT:
            self._fail(BAD_FIELD.pack())
            return
        self._into = bytearray(self.wanted if self.inwards else 0)
        out = [memoryview(bytes(self.data))] if self.data else []
        into = [memoryview(self._into)] if self._into else []
        self._go_on(partial(self._first_step, Command(self.cdb, out, into)))

    def _first_step(self, command: Command) -> Step:
        self._steps = self.unit.start(command)
        return next(self._steps)

    def _go_on(self, following: Callable[[], Step]) -> None:
        """Carry out the command, from the ``following`` step on, until it ends or waits."""
        try:
            while True:
                step, steps = following(), self._steps
                assert steps is not None
                following = partial(next, steps)
                if isinstance(step, int):
                    continue
                failures = list[OSError]()
                job = partial(attempt, step, failures)
                if self._aside is not None:
                    self._errand = self._aside([job], partial(self._come_back, failures))
                    return
                job()
                if failures:
                    if (after := self._after(failures[0], steps)) is None:
                        return
                    following = after
        except StopIteration as end:
            self._finish(self._into[: end.value], end.value)
        except CheckCondition as condition:
            self._fail(condition.sense.pack())
        except OSError as error:
            self.events.host_error("I/O error of a USB disk", f"{error}, command {self.cdb[0]:#x}")
            self._fail(IO_ERROR.pack())

    def _come_back(self, failures: list[OSError]) -> None:
        self._errand = None
        if (steps := self._steps) is None:
            return
        following: Callable[[], Step] | None = partial(next, steps)
        if failures:
            following = self._after(failures[0], steps)
        if following is not None:
            self._go_on(following)

    def _after(self, error: OSError, steps: Work) -> Callable[[], Step] | None:
        """How the command goes on after an error of the host; None if the machine is stopped, and
        it is carried out once more when that goes on."""
        answers, writes = self.unit.answers, not self.inwards
        answer = Answer.REPORT if answers is None else answers(error, writes)
        if answer is Answer.STOP:
            self._steps = None
            return None
        return partial(next, steps) if answer is Answer.IGNORE else partial(steps.throw, error)

    def _fail(self, sense: bytes) -> None:
        self.status, self.sense = FAILED, sense
        self._finish(b"", 0)

    def _finish(self, data: bytes | bytearray, used: int) -> None:
        """The command is over: the host gets ``data`` if it reads, and hears how many bytes were
        ``used``."""
        self._steps, self._into = None, bytearray()
        self.data, self.used = bytearray(data if self.inwards else b""), min(used, self.wanted)
        self.phase = TALKING if self.wanted and self.inwards else TELLING
        self.ready(TO_HOST)

    # See Part

    def try_again(self) -> None:
        """See `Part.try_again`; a command is begun anew, too, that a saved machine was to."""
        if self.phase == WORKING and self._steps is None:
            self._start()

    def let_go(self) -> None:
        while self._errand is not None:
            self._errand.finish()

    def settle(self) -> None:
        aside, self._aside = self._aside, None
        try:
            self.let_go()
        finally:
            self._aside = aside
        try:
            self.unit.settle()
        except OSError as error:
            self.events.host_error("I/O error of a USB disk", str(error))

    def check_forkable(self) -> None:
        self.unit.check_forkable()

    def come_here(self) -> None:
        self.unit.come_here()

    def stack(self) -> None:
        self.unit.stack()

    def forked(self) -> None:
        self.unit.forked()

    def areas(self) -> Mapping[str, Area]:
        return self.unit.areas()

    def stored(self) -> Iterable[Stored]:
        return self.unit.stored()

    def close(self) -> None:
        self._forget()
        self.unit.close()
