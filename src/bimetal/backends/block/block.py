"""What every block back end offers, and the little that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from bimetal.backends.block.bitmaps import Bitmaps
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.vector import PromptReader, read_vector
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.transfers import Transfer

__all__ = ["SECTOR", "Block", "Extent", "Span", "joined"]

SECTOR = 512
"""Bytes in a sector: the unit of a disk's size, whatever its physical blocks are."""


class Extent(Struct, frozen=True):
    """``length`` bytes of a disk from ``start`` on that are stored in one way.

    ``data``: they are stored as bytes, or else known to be zeroes; ``zero``: they are zeroes.
    ``depth`` is 0 for the image itself and 1 more for each backing file below it; ``present`` is
    False where no image of the chain says anything. ``offset`` is where in the file at ``path``
    the bytes lie, None if they do not lie there as they are.
    """

    start: int
    length: int
    data: bool = True
    zero: bool = False
    depth: int = 0
    present: bool = True
    compressed: bool = False
    offset: int | None = None
    path: str = ""

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.start + self.length

    def continues(self, other: Extent) -> bool:
        """Whether this goes on where ``other`` ends, in the same way."""
        offset = None if other.offset is None else other.offset + other.length
        expected = replace(other, start=other.stop, length=self.length, offset=offset)
        return self == expected


def joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """``extents``, which follow each other, with those made one that go on in the same way."""
    last: Extent | None = None
    for extent in extents:
        if last is not None and extent.continues(last):
            last = replace(last, length=last.length + extent.length)
            continue
        if last is not None:
            yield last
        last = extent
    if last is not None:
        yield last


class Span:
    """``buffers`` that are filled by what lies at ``offset`` of a file, which ``prompt`` reads."""

    __slots__ = ("buffers", "offset", "prompt")

    def __init__(self, prompt: PromptReader, offset: int, buffers: Sequence[memoryview]):
        self.prompt, self.offset, self.buffers = prompt, offset, buffers

    def read(self) -> None:
        """Fill the buffers. Raises OSError."""
        read_vector(self.prompt.fd, self.offset, self.buffers)


def _read_all(spans: Sequence[Span]) -> None:
    for span in spans:
        span.read()


class Block(ABC):
    """``size`` bytes, a multiple of 512, that keep what is written to them.

    Offsets and lengths are bytes and stay within the size: the device checks what the guest asks
    for. Every method raises OSError if the host fails, in which case the data in question is
    undefined, and everything else is as it was.
    """

    size: int
    readonly: bool
    name: str

    bitmaps: Bitmaps | None = None
    """The dirty bitmaps, which are kept up; None if it can have none."""

    @abstractmethod
    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Fill ``buffers``, one after the other, with the bytes from ``offset`` on."""

    @abstractmethod
    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Store the bytes of ``buffers``, one after the other, from ``offset`` on. They are safe
        from a crash of the host only after `flush`."""

    # What waits for the host, so that it can be done by another thread: see `WaitingDisk`

    alone: bool = True
    """Whether nothing else may be done with it while a thread works on it."""

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """Where the bytes lie from ``offset`` on, if they lie in files as they are and that is
        known without waiting. Raises OSError."""
        return None

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """Fill ``buffers`` as `readv` does, if that needs no waiting for the host; or return False,
        and then they hold anything. Raises OSError."""
        spans = self.spans(offset, buffers)
        return spans is not None and all(span.prompt(span.offset, span.buffers) for span in spans)

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """`writev`, if that needs no waiting for the host; or do nothing and return False. Raises
        OSError."""
        return False

    def late(self, transfers: Sequence[Transfer]) -> Sequence[Callable[[], None]]:
        """What is to be called, by any threads and side by side, to have ``transfers`` done; none
        of it raises. Reads whose places are known are a piece of work each."""
        work: list[Callable[[], None]] = []
        others: list[Transfer] = []
        only_read = not any(transfer.writes for transfer in transfers)
        for transfer in transfers:
            spans = self._spans_of(transfer) if only_read else None
            if spans is None:
                others.append(transfer)
            else:
                work.append(partial(transfer.attempt, partial(_read_all, spans)))
        return [*work, partial(self._do_in_turn, others)] if others else work

    def flushing(self) -> Callable[[], None] | None:
        """`flush` in two parts: what this returns, if there is anything to be done, is the one that
        waits for the host, and may be called by any thread. Both raise OSError."""
        return self.flush

    def _spans_of(self, transfer: Transfer) -> Sequence[Span] | None:
        try:
            return self.spans(transfer.offset, transfer.buffers)
        except OSError:
            return None  # who reads will find out

    def _do_in_turn(self, transfers: Sequence[Transfer]) -> None:
        for each in transfers:
            move = self.writev if each.writes else self.readv
            each.attempt(partial(move, each.offset, each.buffers))

    @abstractmethod
    def flush(self) -> None:
        """Return once all that was written before is safe from a crash of the host."""

    def rest(self) -> None:
        """Write all that `close` would, so that the files stay as they are unless something else is
        written: for snapshots of a machine."""
        self.flush()

    def unseal(self) -> None:
        """Have the image written from now on that was only read, as those are that others lie on.
        Raises `BimetalError` if it cannot be, and OSError; then it is only read."""
        if not self.readonly:
            return
        raise BimetalError(
            f"the image {self.name!r} is of a kind that is only read",
            "make another one of it: bimetal image convert",
            ExitCode.USAGE,
        )

    def seal(self) -> None:
        """Have the image only read from now on, so that others can lie on it. Raises OSError if
        what was written cannot be made safe; then it is still written."""
        self.flush()

    def files(self) -> tuple[str, ...]:
        """The paths of all files that it is stored in, backing files too."""
        return ()

    def images(self) -> tuple[ImageFile, ...]:
        """The files in which it is stored and that only one machine may write, or only several
        read; first that which is written."""
        return ()

    @property
    def writes(self) -> bool:
        """See `memory.contents.Lent`."""
        return not self.readonly

    @property
    def exclusive(self) -> bool:
        """See `memory.contents.Lent`: whether the first of its `images` is."""
        return any(image.exclusive for image in self.images()[:1])

    def let_go(self) -> None:
        """Let another machine go on with the files; they are not used any more, unless
        `take_again` is called. Raises OSError."""
        self.rest()
        for image in self.images():
            image.let_go()

    def take_again(self) -> None:
        """Go on with the files that were let go, if no other machine has them, or has changed them.
        Raises OSError, and then they are still let go."""
        taken = list[ImageFile]()
        try:
            for image in self.images():
                image.take_again()
                taken.append(image)
        except OSError:
            for image in taken:
                image.let_go()
            raise

    @abstractmethod
    def discard(self, offset: int, length: int) -> None:
        """The guest needs these bytes no more: their space may be given back, and they may read
        as anything that was once there, or as zeroes."""

    @abstractmethod
    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Make these bytes zero; with ``unmap`` their space may be given back."""

    @abstractmethod
    def close(self) -> None:
        """Flush and give everything back. Idempotent."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """How the bytes from ``offset`` on are stored, without gaps and in order. Whoever does not
        know says that all of it is data. The disk must not be written meanwhile."""
        if length:
            yield Extent(offset, length, path=self.name)

    def read(self, offset: int, length: int) -> bytes:
        """A copy of ``length`` bytes from ``offset`` on."""
        data = bytearray(length)
        self.readv(offset, [memoryview(data)])
        return bytes(data)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` from ``offset`` on; see `writev`."""
        self.writev(offset, [memoryview(data)])
