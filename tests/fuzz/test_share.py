"""Hostile 9P messages: whatever a guest asks, it gets an answer, and stays in its folder."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimetal.backends.share.folder import Folder
from bimetal.backends.share.server import HANDLERS, Server
from bimetal.backends.share.wire import HEADER, Kind
from tests.backends.share.client import text

FIDS = st.one_of(st.integers(0, 4), st.just(0xFFFF_FFFF)).map(struct.Struct("<I").pack)
NUMBERS = st.one_of(
    FIDS,
    st.integers(0, 255).map(lambda n: bytes((n,))),
    st.integers(0, 16).map(struct.Struct("<H").pack),
    st.sampled_from([0, 1, 2, 0o100644, 0o40755, 0x200, 0x7FF, 2**31, 2**32 - 1]).map(
        struct.Struct("<I").pack
    ),
    st.sampled_from([0, 1, 11, 4096, 2**31, 2**63 - 1, 2**63, 2**64 - 1]).map(
        struct.Struct("<Q").pack
    ),
)
NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"dir", b"link", b"..", b".", b"", b"../secret", b"/", b"9P2000.L",
                     b"user.x", b"x" * 300]),
    st.binary(max_size=12),
).map(text)  # fmt: skip
BODIES = st.one_of(
    st.lists(st.one_of(NUMBERS, NAMES), max_size=10).map(b"".join),
    st.tuples(FIDS, NAMES, NUMBERS, NUMBERS, NUMBERS).map(b"".join),
    st.tuples(FIDS, FIDS, st.lists(NAMES, max_size=3)).map(
        lambda parts: parts[0] + parts[1] + struct.pack("<H", len(parts[2])) + b"".join(parts[2])
    ),
    st.binary(max_size=80),
)
MESSAGES = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(sorted(HANDLERS)), st.integers(0, 255)),
        BODIES,
        st.one_of(st.none(), st.integers(0, 2**32 - 1)),
        st.sampled_from([11, 12, 64, 4096, 1 << 20]),
    ),
    min_size=1,
    max_size=40,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("secret", "precious")}


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.data_too_large],
)
@given(
    messages=MESSAGES, security=st.sampled_from(["mapped-xattr", "none"]), readonly=st.booleans()
)
def test_hostile_messages(
    messages: list[tuple[int, bytes, int | None, int]], security: str, readonly: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        outside, shared = Path(name), Path(name) / "shared"
        for each in ("secret", "precious"):
            (outside / each).write_bytes(b"as it was")
        (shared / "dir").mkdir(parents=True)
        (shared / "a").write_bytes(b"text")
        (shared / "link").symlink_to("../secret")
        before = contents(outside)
        server = Server(Folder(str(shared), readonly=readonly, security=security))
        attach = struct.pack("<II", 0, 0xFFFF_FFFF) + text(b"") * 2 + struct.pack("<I", 0)
        messages = [(Kind.ATTACH, attach, None, 64), *messages]
        for kind, body, lie, room in messages:
            size = HEADER.size + len(body) if lie is None else lie
            answer = server.answer(HEADER.pack(size, kind, 5) + body, room)
            assert HEADER.size <= len(answer) <= room
            assert HEADER.unpack_from(answer)[0] == len(answer)
        state = server.save()
        server.load(state)
        server.close()
        assert contents(outside) == before
        assert sorted(os.listdir(outside)) == ["precious", "secret", "shared"]
        if readonly:
            assert sorted(os.listdir(shared)) == ["a", "dir", "link"]
            assert (shared / "a").read_bytes() == b"text"
