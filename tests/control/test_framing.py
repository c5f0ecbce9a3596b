"""Where messages end in what a client sends."""

from __future__ import annotations

import json
import random

import pytest

from bimetal.control.qmp.framing import DEPTH_LIMIT, MESSAGE_LIMIT, Framer, Malformed


def framed(*pieces: bytes) -> list[bytes | Malformed]:
    """All messages in a stream that arrives in pieces."""
    framer, found = Framer(), list[bytes | Malformed]()
    for piece in pieces:
        framer.add(piece)
        while (message := framer.next()) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b'{"a":1}', [b'{"a":1}']),
        (b' {"a":1}{"b":2}\r\n\n{}', [b'{"a":1}', b'{"b":2}', b"{}"]),
        (b'{"a":"}{"}', [b'{"a":"}{"}']),
        (b'{"a":"\\"}"}[]', [b'{"a":"\\"}"}', b"[]"]),
        (b'{"\\\\":{}}', [b'{"\\\\":{}}']),
        (b'{\n"a"\n:1}', [b'{\n"a"\n:1}']),
        (b'{"a":', []),
        (b"", []),
    ],
)
def test_messages_end_where_their_brackets_do(stream: bytes, messages: list[bytes]) -> None:
    assert framed(stream) == messages
    assert framed(*(stream[at : at + 1] for at in range(len(stream)))) == messages


def test_any_json_in_any_pieces() -> None:
    chance = random.Random(1)

    def anything(depth: int) -> object:
        kinds = [1.5, '}{]["\\ \n\u00e9', None, True]
        if depth and chance.random() < 0.7:
            inside = [anything(depth - 1) for _ in range(chance.randrange(4))]
            return inside if chance.random() < 0.5 else {str(n): x for n, x in enumerate(inside)}
        return chance.choice(kinds)

    for _ in range(200):
        messages = [json.dumps({"x": anything(5)}).encode() for _ in range(3)]
        stream = b" ".join(messages)
        cuts = sorted(chance.randrange(len(stream)) for _ in range(5))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert framed(*pieces) == messages


def test_what_is_no_message_is_skipped_to_the_end_of_its_line() -> None:
    nothing = Malformed("a message is a JSON object")
    assert framed(b'hello {"a":1}\n{"b":2}') == [nothing, b'{"b":2}']
    assert framed(b"}" * 100, b'}}\n{"b":2}') == [nothing, b'{"b":2}']
    assert framed(b"\xff\xfe\n") == [nothing]


def test_deep_nesting_is_skipped() -> None:
    deep = b'{"a":' * (DEPTH_LIMIT + 1)
    assert framed(deep + b'\n{"b":2}') == [
        Malformed(f"a message nests deeper than {DEPTH_LIMIT}"),
        b'{"b":2}',
    ]
    whole = b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT
    assert framed(whole) == [whole]


def test_a_message_without_end_is_given_up() -> None:
    found = framed(b'{"a":"', b"x" * MESSAGE_LIMIT)
    assert [type(each) for each in found] == [Malformed]
    assert isinstance(found[0], Malformed)
    assert found[0].fatal


def test_a_line_without_end_takes_no_memory() -> None:
    framer = Framer()
    for _ in range(64):
        framer.add(b"x" * MESSAGE_LIMIT)
        framer.next()
    assert len(framer._buffer) == 0
