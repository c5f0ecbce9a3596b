"""Machines that somebody has made up, or damaged on the way: they do not arrive."""

from __future__ import annotations

import zlib
from pathlib import Path
from struct import Struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.backends.passage import await_passage, open_passage
from bimetal.base.errors import BimetalError
from bimetal.machine import arriving
from bimetal.machine.arriving import Arrival
from bimetal.machine.machine import Machine
from bimetal.machine.progress import Moving
from bimetal.snapshot.layout import PAGE
from bimetal.snapshot.stream import (
    CONTENT,
    HAVE,
    KEEP,
    KEPT,
    MOVE,
    STAT,
    YOUR,
    ZERO,
    Stream,
    as_numbers,
)
from tests.boot.verifying import verifying_program

HEAD = Struct("<4sIQ")


class Tape:
    """Bytes that come."""

    both_ways = False
    patience: float | None = None

    def __init__(self, data: bytes):
        self.data = data

    def read(self, count: int) -> bytes:
        if count > len(self.data):
            raise BrokenPipeError
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def write(self, data: bytes | memoryview) -> None:
        self.data += data

    def rest(self, seconds: float) -> None: ...

    def finish(self) -> None: ...


def record(kind: bytes, content: bytes) -> bytes:
    head = HEAD.pack(kind, zlib.crc32(content), len(content))
    return head + Struct("<I").pack(zlib.crc32(head)) + content


def attempt(data: bytes) -> bool:
    """Whether all of it is taken for a machine."""
    with Arrival(Tape(data), Moving()) as arrival:
        try:
            arrival.begin()
            arrival.receive()
            arrival.take(decided=False)
        except (BimetalError, OSError):
            return False
    return True


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A machine as it is sent."""
    folder = tmp_path_factory.mktemp("sound")
    kernel = verifying_program(folder / "program.elf", 64)
    with Machine(kernel=kernel, memory="16M", bios="none", accel="interp") as machine:
        machine.start()
        machine.console.expect("abc")
        with open_passage(f"file:{folder}/machine") as way:
            machine.leave(way)
    return Path(folder, "machine").read_bytes()


def test_a_sound_one_is_taken(sound: bytes) -> None:
    assert attempt(sound)


@given(st.data())
@settings(max_examples=150)
def test_damage_is_found(sound: bytes, data: st.DataObject) -> None:
    """Any bit, and any end."""
    place = data.draw(st.integers(0, len(sound) - 1))
    changed = bytearray(sound)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not attempt(bytes(changed))
    assert not attempt(sound[:place])


KINDS = st.sampled_from([MOVE, CONTENT, ZERO, KEEP, STAT, YOUR, b"what"])
HELLO = b'{"version":1,"both_ways":false,"machine":{},"areas":[["0 ram",65536],["1 rom",4096]]}'


@given(st.lists(st.tuples(KINDS, st.binary(max_size=200))), st.booleans())
def test_made_up_records(records: list[tuple[bytes, bytes]], polite: bool) -> None:
    text = record(MOVE, HELLO) if polite else b""
    attempt(text + b"".join(record(*each) for each in records))


@given(st.binary(max_size=300))
def test_made_up_bytes(data: bytes) -> None:
    attempt(data)


NUMBERS = st.one_of(st.integers(0, 3), st.integers(0, (1 << 32) - 1))
OFFSETS = st.one_of(st.integers(0, 20).map(lambda n: n * 4096), st.integers(0, (1 << 64) - 1))


@given(NUMBERS, OFFSETS, OFFSETS, st.integers(0, 3).map(lambda n: n * 4096))
def test_pages_that_are_nowhere(number: int, start: int, length: int, size: int) -> None:
    text = record(MOVE, HELLO)
    attempt(text + record(ZERO, Struct("<IQQ").pack(number, start, length)))
    attempt(text + record(CONTENT, Struct("<IQ").pack(number, start) + bytes(size)))
    kept = Struct("<QHI").pack(start, 2, number) + b"ab" + Struct("<Q").pack(length)
    attempt(text + record(KEEP, kept + bytes(size)))


def test_no_memory_comes_that_the_machine_does_not_have() -> None:
    """Or else whoever finds the place could fill all memory of the host."""
    for memories in ({"0 ram": 1 << 16}, {"0 ram": 1 << 15, "1 rom": PAGE}):
        with Arrival(Tape(record(MOVE, HELLO)), Moving()) as arrival:
            arrival.begin()
            with pytest.raises(BimetalError, match="other memory than this machine"):
                arrival.welcome(memories)
    with Arrival(Tape(record(MOVE, HELLO)), Moving()) as arrival:
        arrival.begin()
        arrival.welcome({"0 ram": 1 << 16, "1 rom": PAGE})
    twice = HELLO.replace(b"1 rom", b"0 ram")
    arrival = Arrival(Tape(record(MOVE, twice)), Moving())
    with arrival, pytest.raises(BimetalError, match="makes no sense"):
        arrival.begin()


def test_what_wants_answers_comes_by_no_way_that_has_none() -> None:
    """Or else they would be written into the file from which it comes."""
    tape = Tape(record(MOVE, HELLO.replace(b"false", b"true")))
    with Arrival(tape, Moving()) as arrival:
        with pytest.raises(BimetalError, match="answers"):
            arrival.begin()
        arrival.refuse(BimetalError("no"))
    assert tape.data == b""


def test_why_it_is_refused_is_told_whatever_has_come() -> None:
    tape = Tape(record(MOVE, HELLO.replace(b"false", b"true")))
    tape.both_ways = True
    with Arrival(tape, Moving()) as arrival:
        arrival.begin()
        arrival.refuse(BimetalError("no board \ud800"))
    with pytest.raises(BimetalError, match=r"the other side: no board \?"):
        Stream(tape).expect(HAVE)


def test_devices_have_no_more_memory_than_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often, and under however many names, an area comes."""
    monkeypatch.setattr(arriving, "host_memory", lambda: 1 << 20)
    areas = (
        KEPT.pack(PAGE * 16, 4, 16) + b"%04d" % n + as_numbers(range(16)) + bytes(PAGE * 16)
        for n in range(16)
    )
    text = record(MOVE, HELLO) + b"".join(record(KEEP, each) for each in areas)
    empty = (KEPT.pack(0, 4, 0) + b"%04d" % n for n in range(300))
    for each in (text, record(MOVE, HELLO) + b"".join(record(KEEP, one) for one in empty)):
        with Arrival(Tape(each), Moving()) as arrival:
            arrival.begin()
            with pytest.raises(BimetalError, match="more memory than this host"):
                arrival.receive()


@given(st.text(max_size=60))
def test_places(text: str) -> None:
    """Whatever stands for a place is one, or an error."""
    if text.startswith(("exec:", "file:", "unix:", "fd:", "tcp:")):
        return
    for act in (open_passage, await_passage):
        with pytest.raises(BimetalError, match="is no place"):
            act(text)


def test_records_come_as_they_were_sent() -> None:
    tape = Tape(b"")
    stream = Stream(tape)
    stream.send(CONTENT, b"ab", b"cd")
    stream.tell(STAT, {"a": [1, b"x"]})
    assert stream.expect(CONTENT) == b"abcd"
    assert stream.values(STAT) == {"a": [1, b"x"]}
    values = b'{"a":[1,{"!":["bytes","eA=="]}]}'
    assert stream.moved == 2 * (2 * (HEAD.size + 4) + 4 + len(values))
