"""Devices that have what waits for the host done *aside*, by threads of the machine's that do not
hold its lock: the CPUs and the other devices go on, and only the queue stands still.

So requests are answered in the order in which they were made, as a snapshot needs it
(`Virtqueue.restored`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from bimetal.devices.answers import Answer, Answers
from bimetal.devices.virtio.aside import Aside, Errand
from bimetal.devices.virtio.device import TURN, VirtioDevice

__all__ = ["PatientDevice", "attempt"]

VISIT = -1
"""What a visit has in the place of the number of a queue."""


class PatientDevice(VirtioDevice):
    """A device that waits ``aside``, or if that is None, with the machine's lock held. If it waits
    ``alone``, all its queues stand still while one of them waits."""

    derived: ClassVar[tuple[str, ...]] = (
        *("_aside", "_alone", "_errands", "_visits", "gone"),
        *("answers", "_again"),
    )

    def __init__(self, aside: Aside | None, *, alone: bool):
        super().__init__()
        self._aside, self._alone = aside, alone
        self._errands: dict[int, Errand] = {}
        """What is being done aside, for each queue that waits for it."""
        self._visits = deque[tuple[Callable[[], None], Callable[[], None]]]()
        """Visits that have not begun."""
        self.answers: Answers | None = None
        """Says what is done about errors of the host; without it, the guest is told."""
        self._again: list[tuple[int, Callable[[], None]]] = []
        """What is tried again then, and for which queue."""
        self.gone = False
        """Whether it is closed: nobody may visit it any more."""

    def stands_still(self, index: int) -> bool:
        """Whether queue ``index`` has to wait for something that is done aside."""
        if self._again:
            return True
        if self._alone or self._visits:
            return bool(self._errands or self._visits)
        return index in self._errands or VISIT in self._errands

    def visit(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Have ``job`` done aside at a moment when no request is being carried out, and then
        ``done``; requests wait meanwhile, and those that are under way stand between two pieces.
        For who has something to do with what the device uses, in pieces that are short."""
        if self._aside is None:
            job()
            done()
            return
        self._visits.append((job, done))
        self._admit()

    def withdraw(self, done: Callable[[], None]) -> bool:
        """Have a visit not take place after which ``done`` would be called; False if it has
        begun."""
        waiting = [each for each in self._visits if each[1] is not done]
        begun = len(waiting) == len(self._visits)
        if not begun:
            self._visits.clear()
            self._visits += waiting
            for index in range(len(self.queues)):
                self.look(index)
        return not begun

    def try_again(self) -> None:
        again, self._again = self._again, []
        for _, attempt_it in again:
            attempt_it()
        if again:
            for index in range(len(self.queues)):
                self.look(index)

    def _admit(self) -> None:
        """Let the next visit begin, if all queues have come to rest."""
        if self._visits and not self._errands:
            self.before_answers()
            job, done = self._visits.popleft()
            self.send_out(VISIT, [job], done)

    def close(self) -> None:
        self.gone = True
        super().close()
        self.let_go()

    def has_use_for(self, index: int) -> bool:
        return not self.stands_still(index)

    def carry_on(self, index: int) -> bool:
        left = TURN
        while left > 0:
            if self.stands_still(index) or (cost := self._step(index)) is None:
                return False
            left -= cost
        return True

    def let_go(self) -> None:
        while self._errands:
            next(iter(self._errands.values())).finish()

    def settle(self) -> None:
        self.let_go()
        aside, self._aside = self._aside, None
        try:
            super().settle()
        finally:
            self._aside = aside

    def wait_for(
        self,
        index: int,
        job: Callable[[], None],
        cost: int = TURN,
        *,
        writes: bool = True,
        answers: Answers | None = None,
    ) -> Iterator[int]:
        """Have ``job``, which ``writes`` or reads, done, aside if that can be, for the request of
        queue ``index`` that is under way; yields its ``cost``, as `Work` does. Raises the OSError
        that the job raises, unless ``answers``, or that of the device, has another answer."""
        while True:
            failures = list[OSError]()
            if self._aside is None:
                attempt(job, failures)
            else:
                self.send_out(index, [partial(attempt, job, failures)], lambda: None)
            yield cost
            if not failures:
                return
            answer = self.answer(failures[0], answers or self.answers, writes=writes)
            if answer is Answer.IGNORE:
                return
            if answer is Answer.REPORT:
                raise failures[0]
            self._again.append((index, lambda: None))
            yield 0

    @staticmethod
    def answer(error: OSError, answers: Answers | None, *, writes: bool) -> Answer:
        """What is done about an error of the host."""
        return Answer.REPORT if answers is None else answers(error, writes)

    def send_out(
        self, index: int, jobs: Sequence[Callable[[], None]], done: Callable[[], None]
    ) -> None:
        """Have ``jobs`` done aside while queue ``index`` stands still. After that ``done`` is
        called, unless the queue was given up meanwhile, and the queue goes on."""
        assert self._aside is not None
        self._errands[index] = self._aside(jobs, partial(self._come_back, index, done))

    def _come_back(self, index: int, done: Callable[[], None]) -> None:
        if self._errands.pop(index, None) is None:
            return
        done()
        if index != VISIT:
            self.look(index)
        if self._alone or index == VISIT:
            for other in range(len(self.queues)):
                self.look(other)
        self._admit()

    def _forget(self, index: int) -> None:
        errand = self._errands.pop(index, None)
        if errand is not None:
            errand.finish()  # it works on the guest's memory
        self._again = [each for each in self._again if each[0] != index]
        super()._forget(index)
        self._admit()


def attempt(job: Callable[[], None], failures: list[OSError]) -> None:
    """Do ``job``, and note the OSError that it raises."""
    try:
        job()
    except OSError as error:
        failures.append(error)
