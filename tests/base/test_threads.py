"""The end of a thread."""

import threading

from bimetal.base.threads import EndingThread
from tests.interrupting import interrupted


def test_a_wait_that_is_interrupted_does_not_end_the_thread() -> None:
    go_on = threading.Event()

    def work() -> None:
        go_on.wait()

    thread = EndingThread(work, "waiting")
    thread.start()
    with interrupted():
        thread.ended()
    assert not thread.ended(0)
    go_on.set()
    assert thread.ended()


def test_nothing_is_waited_for_before_the_start() -> None:
    assert EndingThread(lambda: None, "idle").ended()
