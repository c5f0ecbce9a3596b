"""Messages between processes: what comes out went in, or nothing comes out."""

from __future__ import annotations

import io
import pickle
import random
import struct

import pytest

from bimetal.codegen.frames import BadFrame, Frame, FrameReader, pack, read_frame
from bimetal.codegen.job import Compiled, Job
from bimetal.codegen.layout import PAGE
from bimetal.codegen.policy import USUAL

MESSAGES = [
    Frame({"entries": [0, 4], "said": "grüße", "seconds": 0.25}, b"\x7fELF" + bytes(3000)),
    Frame({}, b""),
    Frame({"nested": {"a": [None, True]}}, b"x"),
]
HEAD = len(pack(Frame({}, b""))) - 2


def test_messages_come_out_as_they_went_in_however_they_are_cut() -> None:
    stream = b"".join(map(pack, MESSAGES))
    for size in (1, 7, 29, 1000, len(stream)):
        reader, found = FrameReader(), []
        for start in range(0, len(stream), size):
            reader.feed(stream[start : start + size])
            while (frame := reader.take()) is not None:
                found.append(frame)
        assert found == MESSAGES


def test_a_file_is_read_to_its_end() -> None:
    file = io.BytesIO(b"".join(map(pack, MESSAGES)) + pack(MESSAGES[0])[:-1])
    assert [read_frame(file) for _ in range(4)] == [*MESSAGES, None]


def test_no_changed_byte_goes_unnoticed() -> None:
    chance = random.Random(3)
    good = pack(MESSAGES[0])
    places = {*range(HEAD + 60), *(chance.randrange(len(good)) for _ in range(100))}
    for place in sorted(places):
        reader, data = FrameReader(), bytearray(good)
        data[place] ^= 1 << chance.randrange(8)
        reader.feed(bytes(data) + good)
        try:
            assert reader.take() is None  # a length is longer now: it waits for the rest
            assert 4 <= place < 12
        except BadFrame:
            pass


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"entries": [0]}).ljust(HEAD, b"."),
        b"Traceback (most recent call last):\n",
        struct.pack("<4sII16s", b"bmF1", 1 << 31, 0, bytes(16)),
        struct.pack("<4sII16s", b"bmF1", 0, 1 << 31, bytes(16)),
    ],
)
def test_what_is_no_message_is_refused_before_it_is_waited_for(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    with pytest.raises(BadFrame):
        reader.take()
    with pytest.raises(BadFrame):
        read_frame(io.BytesIO(data))


def test_a_job_and_an_answer_say_all_that_they_hold() -> None:
    job = Job(bytes(range(256)) * 16, (0, 8), b"\1\0" * 1024, 2, "region_a", USUAL, (12,), (16, 20))
    reader = FrameReader()
    reader.feed(pack(job.frame()))
    frame = reader.take()
    assert frame is not None
    assert Job.of(frame) == job
    answer = Compiled(b"\x7fELF", (4,), (0, 4), ((0, 8),), 0.5)
    reader.feed(pack(answer.frame()))
    frame = reader.take()
    assert frame is not None
    assert Compiled.of(frame) == answer


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"entries": [0], "steps": [0], "spans": [[0, 4]]},
        {"entries": [0], "steps": [0], "seconds": 1},
        {"entries": [PAGE], "steps": [PAGE], "spans": [[0, 4]], "seconds": 1},
        {"entries": [-4], "steps": [-4], "spans": [[0, 4]], "seconds": 1},
        {"entries": [0.0], "steps": [0.0], "spans": [[0, 4]], "seconds": 1},
        {"entries": [True], "steps": [True], "spans": [[0, 4]], "seconds": 1},
        {"entries": [8], "steps": [0, 4], "spans": [[0, 8]], "seconds": 1},
        {"entries": "ab", "steps": [0], "spans": [[0, 4]], "seconds": 1},
        {"entries": [[0]], "steps": [0], "spans": [[0, 4]], "seconds": 1},
        {"entries": 7, "steps": [0], "spans": [[0, 4]], "seconds": 1},
        {"entries": [0], "steps": [0], "spans": [[0, 4]], "seconds": "soon"},
        {"entries": [0], "steps": [0], "spans": [[4, 8]], "seconds": 1},
        {"entries": [0], "steps": [0], "spans": [[0, PAGE + 4]], "seconds": 1},
        {"entries": [0], "steps": [0], "spans": [[0, 8], [4, 12]], "seconds": 1},
        {"entries": [0], "steps": [0], "spans": [[4, 0]], "seconds": 1},
        {"entries": [0], "steps": [0], "spans": [[0]], "seconds": 1},
        {"entries": [0], "steps": [0], "spans": [["0", 4]], "seconds": 1},
    ],
)
def test_an_answer_that_would_be_installed_in_a_wrong_place_is_none(
    fields: dict[str, object],
) -> None:
    with pytest.raises(BadFrame):
        Compiled.of(Frame(fields, b"\x7fELF"))
