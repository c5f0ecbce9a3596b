"""A machine comes from another process: see `leaving`.

What comes of its memory is kept beside the machine that it is going to be, which has not been built
yet: that locks the disks, which the other side lets go only when all the rest is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import error as StructError
from typing import Any

from bimetal.base.closes import Closes
from bimetal.machine.leaving import Way
from bimetal.machine.progress import Moving
from bimetal.memory.contents import PAGE, Area
from bimetal.memory.ram import Ram, host_memory
from bimetal.snapshot.stream import (
    CONTENT,
    FAIL,
    HAVE,
    KEEP,
    MOVE,
    PLACE,
    RUNS,
    STAT,
    VERSION,
    YOUR,
    ZERO,
    ZEROES,
    Stream,
    broken,
    read_area,
    read_values,
)

__all__ = ["Arrival"]

MOST_AREAS = 64


class Arrival(Closes):
    """What has come by ``way``; ``path`` is what it is called in messages. Like a snapshot
    (`snapshot.reader.Reader`) it has a ``manifest``, and fills memory and areas.

    Call `begin`, `welcome`, `receive`, `take`, which returns when the disks may be had, and
    `confirm` when the machine is there. Methods raise OSError and `BimetalError`.
    """

    def __init__(self, way: Way, moving: Moving):
        self.path = "on its way"
        self._way, self._stream, self._moving = way, Stream(way), moving
        self._memories = list[Ram]()
        self._names = dict[str, Ram]()
        self._areas = dict[str, tuple[int, dict[int, bytes]]]()
        self.manifest: Mapping[str, Any] = {}
        self._both_ways = False
        self._room = 0
        """Bytes that areas of devices may still have: all together has room on this host."""

    def begin(self) -> None:
        """Hear what comes."""
        values = self._stream.values(MOVE)
        if values.get("version") != VERSION:
            raise broken(f"it is of version {values.get('version')!r:.40}, and this is {VERSION}")
        areas = values.get("areas")
        if not isinstance(areas, list) or len(areas) > MOST_AREAS:
            raise broken("it has no memory")
        if values.get("both_ways") and not self._way.both_ways:
            raise broken("it wants answers, which cannot go back from here")
        self._both_ways = bool(values.get("both_ways"))
        self.manifest = {"machine": values.get("machine")}
        total = 0
        for area in areas:
            match area:
                case [str(name), int(size)] if (
                    size > 0 and not size % PAGE and name not in self._names
                ):
                    total += size
                case _:
                    raise broken("its memory makes no sense")
            if total > host_memory():
                raise broken("it has more memory than this host")
            memory = Ram(name, size)
            memory.prefer_huge_pages()
            self._memories.append(memory)
            self._names[name] = memory
        self._room = host_memory() - total
        self._moving.total = self._moving.left = total

    def welcome(self, memories: Mapping[str, int]) -> None:
        """Tell the other side that a machine like that can come: its memories are those of this
        one, whose sizes these are; so no more of the host is used for what comes."""
        if {name: memory.size for name, memory in self._names.items()} != memories:
            raise broken("it has other memory than this machine")
        if self._both_ways:
            self._stream.send(HAVE)

    def receive(self) -> None:
        """Take in all that comes before the machine stands still for good."""
        while True:
            kind, content = self._stream.next()
            try:
                if kind == CONTENT:
                    number, start = PLACE.unpack_from(content)
                    self._keep(number, start, content[PLACE.size :])
                elif kind == ZERO:
                    number, start, length = ZEROES.unpack(content)
                    self._clear(number, start, length)
                elif kind == KEEP:
                    self._keep_area(content)
                elif kind == STAT:
                    self.manifest = {**self.manifest, **read_values(content)}
                    break
                else:
                    raise broken(f"{kind!r} comes where memory should")
            except StructError as error:
                raise broken(f"a part of it makes no sense: {error}") from error
            self._moving.sent = self._stream.moved
        self._moving.left = 0

    def take(self, *, decided: bool) -> bool:
        """Return once the machine is ours; True. If the other side is gone by then, it may be ours
        too, if that is ``decided`` by locks of its disks: False. Who does not get them has not got
        it."""
        if self._both_ways:
            self._stream.send(HAVE)
        try:
            self._stream.expect(YOUR)
        except OSError:
            if not (self._both_ways and decided):
                raise
            return False
        return True

    def confirm(self) -> None:
        """Tell the other side that the machine is there. It may be gone."""
        if self._both_ways:
            try:
                self._stream.send(RUNS)
            except OSError:
                self._both_ways = False

    def refuse(self, error: BaseException) -> None:
        """Tell the other side why the machine cannot be here."""
        if self._both_ways:
            try:
                self._stream.send(FAIL, _said(error))
            except OSError:
                self._both_ways = False

    def check(self) -> None:
        """See `Reader.check`: each part was, when it came."""

    def map_into(self, name: str, memory: Ram) -> None:
        """See `Reader.map_into`."""
        found = self._names.pop(name, None)
        if found is None or found.size != memory.size:
            raise broken(f"it has no {memory.size} bytes of memory called {name}")
        memory.take(found)

    def copy_into(self, name: str, area: Area) -> None:
        """See `Reader.copy_into`."""
        size, pages = self._areas.get(name, (-1, {}))
        if size != area.size:
            raise broken(f"it has no {area.size} bytes called {name}")
        area.clear()
        for number, page in sorted(pages.items()):
            area.put(number, page)

    def close(self) -> None:
        """Forget what was not used. Idempotent."""
        while self._memories:
            self._memories.pop().close()

    def _keep(self, number: int, start: int, data: bytes) -> None:
        memory = self._memory(number, start, len(data))
        memory.bytes[start : start + len(data)] = data

    def _keep_area(self, content: bytes) -> None:
        self._room -= max(len(content), PAGE)
        if self._room < 0:
            raise broken("its devices have more memory than this host")
        name, size, pages = read_area(content)
        self._areas.setdefault(name, (size, {}))[1].update(pages)

    def _clear(self, number: int, start: int, length: int) -> None:
        self._memory(number, start, length).give_back(start, length)

    def _memory(self, number: int, start: int, length: int) -> Ram:
        if number >= len(self._memories):
            raise broken("memory comes that there is none of")
        memory = self._memories[number]
        if start % PAGE or length % PAGE or not 0 <= start <= start + length <= memory.size:
            raise broken("memory comes from where there is none")
        return memory


def _said(error: BaseException) -> bytes:
    """Why the machine cannot be here, in a few words, whatever has come that they tell of."""
    return (str(error) or type(error).__name__)[:1000].encode(errors="replace")
