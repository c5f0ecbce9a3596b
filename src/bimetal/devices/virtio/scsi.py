"""The SCSI host device (virtio 1.2, section 5.6): a bus with a unit at each target.

Hot plug and notes of changed parameters are not offered, so the queue of events stays as it is;
drives tell by sense data that their medium was changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct

from bimetal.base.buffers import scatter, split, total
from bimetal.devices.scsi.sense import BAD_LUN, IO_ERROR, CheckCondition, Status
from bimetal.devices.scsi.unit import Command, Unit
from bimetal.devices.scsi.unit import Work as Steps
from bimetal.devices.virtio.aside import Aside
from bimetal.devices.virtio.device import Work
from bimetal.devices.virtio.patient import PatientDevice
from bimetal.devices.virtio.queue import Chain, QueueError
from bimetal.memory.contents import Area, Stored

__all__ = ["VirtioScsi"]

CONTROL, EVENT, FIRST_REQUEST = 0, 1, 2
QUEUE_SIZE = 256
SEGMENTS = QUEUE_SIZE - 2

CDB_SIZE, SENSE_SIZE = 32, 96
"""Bytes for a command and for sense data; the driver may choose others."""

CDB_LIMIT, SENSE_LIMIT = 64, 252

LUN_LIMIT = 0x4000
REPORT_LUNS = 0xA0

_CONFIG = Struct("<7IHHI")
"""Queues for requests, buffers of a request, blocks of a request, requests of a unit, size of an
event, of sense and of a CDB, the last channel, target and unit (5.6.4)."""

SENSE_AT, CDB_AT = 20, 24

_REQUEST = Struct("<8sQ3B")
"""Unit, tag; attributes, priority and number, which mean nothing here (5.6.6.1)."""

_ANSWER = Struct("<IIHBB")
"""Length of sense data, bytes not moved, qualifier, status, response."""

OK, BAD_TARGET = 0, 3
"""Responses (5.6.6.1.1)."""

_FUNCTION = Struct("<II8sQ")
_QUERY = Struct("<I8sI")
MANAGE, QUERY, SUBSCRIBE = 0, 1, 2
"""Types of requests of the queue for control (5.6.6.2)."""


class VirtioScsi(PatientDevice):
    """A host with ``units`` at the targets 0, 1 and so on, which are closed with it. What waits for
    the host is done ``aside``."""

    device_id = 8
    queue_limits = (QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE)
    saved = ("units",)

    def __init__(self, units: Sequence[Unit], aside: Aside | None = None):
        super().__init__(aside, alone=True)
        self.units = list(units)
        self._set_sizes(SENSE_SIZE, CDB_SIZE)

    def has_use_for(self, index: int) -> bool:
        if index == CONTROL and self._under_way[FIRST_REQUEST] is not None:
            return False
        return index != EVENT and super().has_use_for(index)

    def _answer(self, index: int) -> None:
        super()._answer(index)
        if index == FIRST_REQUEST and self._under_way[index] is None:
            self.look(CONTROL)

    def work_on(self, index: int, chain: Chain) -> Work:
        if index == CONTROL:
            yield 0
            return self._control(chain)
        return (yield from self._request(index, chain))

    def config_written(self, offset: int, data: bytes) -> None:
        value = int.from_bytes(data, "little")
        if (offset, len(data)) == (SENSE_AT, 4) and value <= SENSE_LIMIT:
            self._set_sizes(value, self._sizes[1])
        elif (offset, len(data)) == (CDB_AT, 4) and 6 <= value <= CDB_LIMIT:
            self._set_sizes(self._sizes[0], value)
        else:
            super().config_written(offset, data)

    def reset(self) -> None:
        super().reset()
        self._set_sizes(SENSE_SIZE, CDB_SIZE)
        for unit in self.units:
            unit.reset()

    def check_forkable(self) -> None:
        for unit in self.units:
            unit.check_forkable()

    def come_here(self) -> None:
        for unit in self.units:
            unit.come_here()

    def stack(self) -> None:
        for unit in self.units:
            unit.stack()

    def forked(self) -> None:
        for unit in self.units:
            unit.forked()

    def settle(self) -> None:
        super().settle()
        for unit in self.units:
            try:
                unit.settle()
            except OSError as error:
                self.events.host_error("I/O error of a SCSI unit", str(error))

    def areas(self) -> Mapping[str, Area]:
        return {
            f"{target}.{name}": area
            for target, unit in enumerate(self.units)
            for name, area in unit.areas().items()
        }

    def stored(self) -> Iterable[Stored]:
        return [disk for unit in self.units for disk in unit.stored()]

    def close(self) -> None:
        super().close()
        for unit in self.units:
            unit.close()

    @property
    def _sizes(self) -> tuple[int, int]:
        fields = _CONFIG.unpack(self.config)
        return fields[5], fields[6]

    def _set_sizes(self, sense: int, cdb: int) -> None:
        last = max(0, len(self.units) - 1)
        self.config[:] = _CONFIG.pack(1, SEGMENTS, 0xFFFF, 128, 16, sense, cdb, 0, last, 0)

    # Requests

    def _request(self, index: int, chain: Chain) -> Work:
        sense_size, cdb_size = self._sizes
        head, out = split(chain.readable, _REQUEST.size + cdb_size)
        request = b"".join(head)
        answer, into = split(chain.writable, _ANSWER.size + sense_size)
        if len(request) < _REQUEST.size + cdb_size or total(answer) < _ANSWER.size + sense_size:
            raise QueueError("a SCSI request is too short")
        lun, cdb = request[:8], request[_REQUEST.size :].ljust(16, b"\0")
        unit, response, status, sense, moved = self._unit(lun), OK, Status.GOOD, b"", 0
        if unit is None:
            response = BAD_TARGET
        else:
            try:
                if int.from_bytes(lun[2:4], "big") % LUN_LIMIT and cdb[0] != REPORT_LUNS:
                    raise CheckCondition(BAD_LUN)
                steps = unit.start(Command(cdb, out, into))
                moved = yield from self._carry_out(index, steps, unit, writes=not into)
            except CheckCondition as condition:
                status, sense = Status.CHECK_CONDITION, condition.sense.pack()
            except OSError as error:
                self.events.host_error("I/O error of a SCSI unit", f"{error}, command {cdb[0]:#x}")
                status, sense = Status.CHECK_CONDITION, IO_ERROR.pack()
        left = max(total(out), total(into)) - moved
        sense = sense[:sense_size]
        scatter(_ANSWER.pack(len(sense), left, 0, status, response) + sense, answer)
        return total(answer) + (moved if into else 0)

    def _carry_out(self, index: int, steps: Steps, unit: Unit, *, writes: bool) -> Work:
        """Carry out a command, and what of it waits for the host aside."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, int):
                    yield step
                    step = next(steps)
                    continue
                try:
                    yield from self.wait_for(index, step, 0, writes=writes, answers=unit.answers)
                except OSError as error:
                    step = steps.throw(error)
                else:
                    step = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _unit(self, lun: bytes) -> Unit | None:
        """The unit that the first bytes of a number of 8 name (5.6.6.1)."""
        return self.units[lun[1]] if lun[0] == 1 and lun[1] < len(self.units) else None

    def _control(self, chain: Chain) -> int:
        """Requests are carried out one after the other, and these between two of them, so there is
        never one to abort."""
        request = b"".join(bytes(each[:64]) for each in chain.readable)[:64]
        kind = int.from_bytes(request[:4], "little")
        if kind == MANAGE and len(request) >= _FUNCTION.size:
            known = self._unit(request[8:16]) is not None
            return scatter(bytes((OK if known else BAD_TARGET,)), chain.writable)
        if kind in (QUERY, SUBSCRIBE) and len(request) >= _QUERY.size:
            known = self._unit(request[4:12]) is not None
            return scatter(bytes((0, 0, 0, 0, OK if known else BAD_TARGET)), chain.writable)
        raise QueueError("a control request of an unknown type")
