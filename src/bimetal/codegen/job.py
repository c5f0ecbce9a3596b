"""Jobs for the translator and their answers, and how both travel between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Self

from ..isa.decoding import USUAL as USUAL_DECODING
from ..isa.decoding import Decoding
from .cover import Cover
from .frames import BadFrame, Frame
from .policy import USUAL, Policy
from .stored_region import StoredRegion, check_region

__all__ = ["Compiled", "Job"]


@contextmanager
def _reading() -> Iterator[None]:
    """While a message is read: turn what is missing or malformed in it into `BadFrame`."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise BadFrame(f"a message that means nothing: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Job:
    """A page's code, where to enter it, and a byte for each granule that has been executed.

    The code that leads to each of ``jumps`` shall be entered too, where it begins, unless an entry
    is ``there`` already. ``level`` is 1 for code that is wanted soon, 2 for code that is worth more
    work; ``symbol`` is the name under which the object shall define the region. ``decoding`` tells
    what the code means.
    """

    code: bytes
    entries: tuple[int, ...]
    executed: bytes
    level: int
    symbol: str
    policy: Policy = USUAL
    jumps: tuple[int, ...] = ()
    there: tuple[int, ...] = ()
    decoding: Decoding = USUAL_DECODING

    def frame(self, **more: object) -> Frame:
        """The job as a message, with ``more`` fields."""
        fields = {
            "code": len(self.code),
            "entries": self.entries,
            "level": self.level,
            "symbol": self.symbol,
            "policy": asdict(self.policy),
            "jumps": self.jumps,
            "there": self.there,
            "decoding": asdict(self.decoding),
        }
        return Frame(fields | more, self.code + self.executed)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """The job that a message tells. Raises `BadFrame`."""
        said, content = frame
        with _reading():
            return cls(
                code=content[: said["code"]],
                entries=tuple(said["entries"]),
                executed=content[said["code"] :],
                level=int(said["level"]),
                symbol=str(said["symbol"]),
                policy=Policy(**said["policy"]),
                jumps=tuple(said["jumps"]),
                there=tuple(said["there"]),
                decoding=Decoding(**said["decoding"]),
            )


@dataclass(frozen=True, slots=True)
class Compiled:
    """The answer to a job: an object, or no content where no region can be had.

    ``entries`` are where the region can be entered, ``steps`` the offsets of its instructions,
    ``spans`` where these lie (see `Cover`), ``seconds`` the processor time it took.
    """

    content: bytes = b""
    entries: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    seconds: float = 0.0

    def stored(self, job: Job) -> StoredRegion:
        """What the store keeps of the region."""
        cover = Cover.of(job.code, self.spans)
        return StoredRegion(job.level, job.symbol, self.entries, self.steps, cover)

    def frame(self) -> Frame:
        """The answer as a message."""
        fields = {
            "entries": self.entries,
            "steps": self.steps,
            "spans": self.spans,
            "seconds": self.seconds,
        }
        return Frame(fields, self.content)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """The answer that a message tells. Raises `BadFrame`."""
        said, content = frame
        with _reading():
            entries, steps = tuple(said["entries"]), tuple(said["steps"])
            spans = tuple((start, end) for start, end in said["spans"])
            check_region(entries, steps, Cover(spans))
            return cls(content, entries, steps, spans, float(said["seconds"]))
