"""Images that are served to others, by NBD."""

from __future__ import annotations

from bimetal.backends.block.nbd.protocol import DEFAULT_PORT
from bimetal.backends.block.nbd.serving import ServedImage
from bimetal.base.threads import EndingThread

__all__ = ["DEFAULT_PORT", "ServedImage", "serve_whole_requests"]


def serve_whole_requests(image: ServedImage) -> None:
    """Serve until an exception of a signal handler, in a thread that it does not break into: a
    request that has begun is finished. Raises what ends the thread before."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            image.run()
        except BaseException as error:
            failures.append(error)

    thread = EndingThread(work, "bimetal-serve")
    thread.start()
    try:
        thread.ended()
    finally:
        image.stop()
        thread.ended()
    if failures:
        raise failures[0]
