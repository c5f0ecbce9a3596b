"""Jobs for the translator, its answers, and both as messages between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from msgspec import Struct
from msgspec.structs import asdict

from ..isa.decoding import USUAL as USUAL_DECODING
from ..isa.decoding import Decoding
from .cover import Cover
from .frames import BadFrame, Frame
from .policy import USUAL, Policy
from .stored_region import StoredRegion, bits_of, check_region

__all__ = ["Compiled", "Job"]


@contextmanager
def _reading() -> Iterator[None]:
    """A context in which missing or malformed fields of a message raise `BadFrame`."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise BadFrame(f"a message with wrong fields: {error!r}") from error


class Job(Struct, frozen=True):
    """A request to translate a part of a page of guest code.

    ``code`` is the page's bytes, ``entries`` are the offsets at which to enter it, and ``executed``
    has a byte for each granule, which is not 0 if an instruction there has been executed. The
    straight code that ends in each of ``jumps`` is to be an entry too, at its start, unless one of
    the offsets ``there``, where regions are entered already, will do. ``level`` is 1 for a quick
    translation and 2 for an optimised one, ``symbol`` the name that the object is to define, and
    ``decoding`` says how to decode the code. The entries that are needed ``seldom`` can be left out
    where code is optimised, and accesses by the instructions at the offsets ``misaligned`` have
    been so.
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
    seldom: tuple[int, ...] = ()
    misaligned: tuple[int, ...] = ()

    def frame(self) -> Frame:
        """The job as a message."""
        fields = {
            "code": len(self.code),
            "entries": self.entries,
            "level": self.level,
            "symbol": self.symbol,
            "policy": asdict(self.policy),
            "jumps": self.jumps,
            "there": self.there,
            "decoding": asdict(self.decoding),
            "seldom": self.seldom,
            "misaligned": self.misaligned,
        }
        return Frame(fields, self.code + self.executed)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """The job in a message. Raises `BadFrame`."""
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
                seldom=tuple(said["seldom"]),
                misaligned=tuple(said["misaligned"]),
            )


class Compiled(Struct, frozen=True):
    """The answer to a job: a region's image, empty if there can be none.

    ``entries`` are the offsets where the region can be entered, ``steps`` those of its
    instructions, ``spans`` the code that it depends on (see `Cover`), ``seconds`` is the processor
    time that it took.
    """

    content: bytes = b""
    entries: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    seconds: float = 0.0

    def stored(self, job: Job) -> StoredRegion:
        """What the store keeps of the region."""
        cover = Cover.of(job.code, self.spans)
        return StoredRegion(job.level, job.symbol, self.entries, bits_of(self.steps), cover)

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
        """The answer in a message. Raises `BadFrame`."""
        said, content = frame
        with _reading():
            entries, steps = tuple(said["entries"]), tuple(said["steps"])
            spans = tuple((start, end) for start, end in said["spans"])
            check_region(entries, bits_of(steps), Cover(spans))
            return cls(content, entries, steps, spans, float(said["seconds"]))
