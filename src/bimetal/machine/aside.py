"""Threads for work that waits for the host, such as a disk's: see `devices.virtio.aside`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event, Lock

from bimetal.base.clock import Countdown
from bimetal.base.threads import EndingThread

__all__ = ["Threads"]

LIMIT = 8
"""Threads, and so pieces of work that wait for the host side by side."""


class Work:
    """Several ``jobs``, after which ``done`` is called once. An `Errand`."""

    def __init__(self, count: int, done: Callable[[], None], call: Callable[..., None]):
        self._left, self._done, self._call = count, done, call
        self._counting, self._over, self._finished = Lock(), Event(), False

    def job_ended(self) -> None:
        """One of the jobs has ended, somehow."""
        with self._counting:
            self._left -= 1
            if self._left:
                return
        self._over.set()
        self._call(self.finish)

    def finish(self) -> None:
        """See `Errand.finish`."""
        self._over.wait()
        if not self._finished:
            self._finished = True
            self._done()


class Threads:
    """An `Aside` with threads of its own, which are started when they are needed.

    ``call`` has a function called soon with the machine's lock held; ``fail`` is told of an
    exception that nobody expected.
    """

    def __init__(
        self, call: Callable[[Callable[[], None]], None], fail: Callable[[BaseException], None]
    ):
        self._call, self._fail = call, fail
        self.forked()

    def forked(self) -> None:
        """This process is a copy, in which there are none of the threads, and nothing to do."""
        self._jobs: SimpleQueue[tuple[Callable[[], None], Work] | None] = SimpleQueue()
        self._threads: list[EndingThread] = []
        self._open, self._counting = 0, Lock()
        """Jobs that have not ended."""

    def __call__(self, jobs: Sequence[Callable[[], None]], done: Callable[[], None]) -> Work:
        work = Work(len(jobs), done, self._call)
        with self._counting:
            self._open += len(jobs)
            wanted = min(LIMIT, self._open)
        for job in jobs:
            self._jobs.put((job, work))
        while len(self._threads) < wanted:
            self._threads.append(EndingThread(self._main, f"aside-{len(self._threads)}"))
            self._threads[-1].start()
        return work

    def stop(self, seconds: float) -> bool:
        """Do what is left, and end the threads; False if that took too long. Idempotent."""
        countdown = Countdown(seconds)
        for _ in self._threads:
            self._jobs.put(None)
        if not all(thread.ended(countdown.left) for thread in self._threads):
            return False
        self._threads.clear()
        return True

    def _main(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, work = item
            try:
                job()
            except BaseException as failure:
                self._fail(failure)
            finally:
                with self._counting:
                    self._open -= 1
                work.job_ended()
            del item, job, work  # and with them the guest's memory
