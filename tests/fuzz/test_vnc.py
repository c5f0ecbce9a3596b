"""Hostile clients of the VNC server: whatever they say, they are let go or served, nothing raises,
and nothing that they decide makes more be kept than a few rectangles."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from bimetal.backends.vnc.canvas import Canvas
from bimetal.backends.vnc.channel import ChannelError, WebSocketLayer
from bimetal.backends.vnc.hello import Access, Goodbye
from bimetal.backends.vnc.password import Password
from bimetal.backends.vnc.session import Session
from tests.backends.vnc.served import Desk

HELLO = b"RFB 003.008\n\1\1"
ROOM = 1 << 16
KEPT_LIMIT = ROOM + (1 << 20)
INBOX_LIMIT = 1 << 17


WORD, BYTE = st.integers(0, 0xFFFF), st.integers(0, 255)
SIDE = st.one_of(st.integers(0, 400), WORD)
LONG = st.integers(0, 0xFFFF_FFFF)
ENCODING = st.one_of(
    st.sampled_from([0, 1, 7, 16, -223, -239, -247, -256, -258, -308, -314]),
    st.integers(-(1 << 31), (1 << 31) - 1),
)


def packed(layout: str, *fields: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return st.builds(struct.Struct(layout).pack, *fields)


MESSAGE = st.one_of(
    packed(">BBHHHH", st.just(3), BYTE, SIDE, SIDE, SIDE, SIDE),
    packed(">BBHHHH", st.just(3), st.just(0), st.just(0), st.just(0), st.just(333), st.just(217)),
    st.lists(ENCODING, max_size=12).map(
        lambda each: struct.pack(f">BxH{len(each)}i", 2, len(each), *each)
    ),
    packed(">B3xBBBBHHHBBB3x", st.just(0), st.sampled_from([8, 16, 32, 24]), BYTE, BYTE,
           st.sampled_from([0, 1, 1, 1]), *[st.sampled_from([1, 7, 31, 255, 0xFFFF])] * 3,
           *[st.integers(0, 33)] * 3),
    packed(">B3x12s4x", st.just(0), st.binary(min_size=12, max_size=12)),  # type: ignore[arg-type]
    packed(">BB2xI", st.just(4), BYTE, LONG),
    packed(">BBHH", st.just(5), BYTE, SIDE, SIDE),
    st.binary(max_size=300).map(lambda each: struct.pack(">B3xi", 6, len(each)) + each),
    packed(">B3xi", st.just(6), st.integers(-(1 << 31), (1 << 31) - 1)),
    packed(">BxHHBx16s", st.just(251), SIDE, SIDE, st.just(1),
           st.binary(max_size=16)),  # type: ignore[arg-type]
    packed(">BBHII", st.just(255), st.sampled_from([0, 0, 0, 1]), WORD, LONG, LONG),
    st.binary(max_size=20),
)  # fmt: skip


def session(desk: Desk, access: Access | None = None) -> Session:
    canvas = Canvas(desk.screen, lambda: desk.lock, lambda: None)
    canvas.look()
    return Session(canvas, desk, access or Access(), "desk", desk.wish, lambda: None)


DESK = Desk()


@given(st.lists(st.tuples(MESSAGE, st.integers(0, 3)), max_size=20), st.integers(1, 400))
def test_any_messages(messages: list[tuple[bytes, int]], cut: int) -> None:
    """In pieces of any length; sent to who reads, or to who never does."""
    DESK.done.clear()
    client = session(DESK)
    client.received(HELLO)
    try:
        for data, what in messages:
            for at in range(0, len(data), cut):
                client.received(data[at : at + cut])
            assert len(client._inbox) <= INBOX_LIMIT
            if what:
                client.begin_update()
                client.fill(ROOM)
            if what > 1:
                client.outbox.clear()
            assert len(client.outbox) < KEPT_LIMIT
    except Goodbye:
        pass
    client.close()
    down: set[object] = set()
    for kind, name, *rest in DESK.done:
        if kind == "key":
            (down.add if rest[0] else down.discard)(name)
    assert not down, "a key is held by nobody"


@given(st.binary(max_size=100), st.booleans())
def test_any_hello(data: bytes, secret: bool) -> None:
    client = session(DESK, Access(Password("secret")) if secret else None)
    try:
        client.received(b"RFB 003.008\n" * (len(data) & 1) + data)
    except Goodbye:
        return
    assert not (secret and client.welcome)


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_any_web_socket(pieces: list[bytes], opened: bool) -> None:
    layer = WebSocketLayer()
    if opened:
        layer.received(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert layer.sent(b"").startswith(b"HTTP/1.1 101")
    try:
        for piece in pieces:
            assert len(layer.received(piece)) <= sum(map(len, pieces))
            layer.sent(b"x")
    except ChannelError:
        return
