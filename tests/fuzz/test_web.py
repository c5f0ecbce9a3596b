"""Whatever a request says, nobody gets past the guard without the token, from elsewhere, or by a
name that is not ours; and every answer is one that HTTP has."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.web.guard import Guard, Rules

TOKEN = "secret-token-0123456789"
HOSTS = [b"localhost", b"127.0.0.1:8470", b"[::1]:1", b"desk.example", b"evil.example", b""]
ORIGINS = [b"http://" + host for host in HOSTS] + [b"null", b"https://localhost"]
TOKENS = [TOKEN.encode(), TOKEN[:-1].encode(), TOKEN.encode() + b"x", b""]
OURS = HOSTS[:4]

anything = st.binary(max_size=40)
headers = st.lists(
    st.one_of(
        st.tuples(st.just(b"host"), st.sampled_from(HOSTS) | anything),
        st.tuples(st.just(b"origin"), st.sampled_from(ORIGINS) | anything),
        st.tuples(
            st.just(b"authorization"),
            st.sampled_from([b"Bearer " + token for token in TOKENS] + TOKENS) | anything,
        ),
        st.tuples(
            st.just(b"sec-websocket-protocol"),
            st.sampled_from([b"bimetal, token." + token for token in TOKENS]) | anything,
        ),
        st.tuples(st.just(b"cookie"), st.sampled_from(TOKENS)),
    ),
    max_size=5,
)
kinds = st.sampled_from(["http", "websocket"])
paths = st.sampled_from(["/api/list", "/api", "/api/machines/a/console", "//api", "/api/../api/x"])


@settings(max_examples=400)
@given(headers, kinds, paths, st.sampled_from(["GET", "POST", "HEAD", "BREW"]))
def test_nobody_gets_past_the_guard(
    given_headers: list[tuple[bytes, bytes]], kind: str, path: str, method: str
) -> None:
    reached, told = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        return {"type": f"{kind}.disconnect"}

    scope: dict[str, Any] = {
        "type": kind,
        "scheme": "http" if kind == "http" else "ws",
        "method": method,
        "path": path,
        "headers": given_headers,
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(Guard(app, Rules(TOKEN, ["desk.example"]))(scope, receive, send))
    if not reached:
        assert told[0]["status"] in (401, 403, 421)
        return
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in given_headers:
        by_name.setdefault(name, []).append(value)
    (host,) = by_name[b"host"]
    assert host in OURS or host.lower().startswith((b"localhost", b"desk.example", b"127.", b"["))
    assert by_name.get(b"origin", [b"http://" + host]) == [b"http://" + host]
    is_page = kind == "http" and method in ("GET", "HEAD") and not path.startswith("/api")
    said = [*by_name.get(b"authorization", []), *by_name.get(b"sec-websocket-protocol", [])]
    assert is_page or any(TOKEN.encode() in each for each in said)
