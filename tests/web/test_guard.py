"""Who is let in: with the token, from our own page, by a name of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.control import Machines
from bimetal.control.places import Places
from bimetal.web.guard import Rules
from bimetal.web.serving import Site, new_token
from tests.web.browser import Browser
from tests.web.conftest import serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page of somebody without machines, who calls this host by another name too."""
    folder = tmp_path_factory.mktemp("site")
    machines = Machines(Places(folder / "c", folder / "s", folder / "r"))
    names = ["desk.example"]
    with serving(Site(machines, "127.0.0.1:0", new_token(), names=names)) as made:
        yield made


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YTpi"},
        {"Cookie": "token={token}"},
        {"Authorization": "Bearer \xe9"},
        {"Authorization": "{token}"},
    ],
)
@pytest.mark.parametrize("path", ["/api/list", "/api", "/api/openapi.json", "//api/list"])
def test_nobody_without_the_token(
    browser: Browser, site: Site, path: str, headers: dict[str, str]
) -> None:
    told = {name: value.replace("{token}", site.token) for name, value in headers.items()}
    reply = browser.send("GET", path, told)
    assert reply.status in (401, 404)
    assert reply.status == 404 or reply.headers["www-authenticate"] == "Bearer"
    assert site.token.encode() not in reply.content


def test_other_methods_want_the_token_everywhere(browser: Browser) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert browser.send(method, "/", {}).status == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("192.0.2.7", 200),
        ("desk.example", 200), ("DESK.example:8470", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("", 421),
        ("127.0.0.1.evil.example", 421), ("desk.example@evil.example", 421), ("[::1", 421),
    ],
)  # fmt: skip
def test_names_that_mean_us(browser: Browser, host: str, status: int) -> None:
    """A foreign page whose name leads here (DNS rebinding) says its own name."""
    reply = browser.send("GET", "/api/list", {"Host": host, **browser.authorization})
    assert reply.status == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", ""])
def test_pages_from_elsewhere(browser: Browser, origin: str) -> None:
    reply = browser.send("GET", "/api/list", {"Origin": origin, **browser.authorization})
    assert reply.status == 403
    assert not [name for name in reply.headers if "access-control" in name.lower()]


def test_our_own_page(browser: Browser) -> None:
    ours = {**browser.authorization, "Origin": f"http://{browser.place}"}
    assert browser.send("GET", "/api/list", ours).status == 200


def test_headers_of_all_answers(browser: Browser) -> None:
    for path in ("/", "/api/list", "/nothing"):
        headers = browser.send("GET", path, {}).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert browser.get("list").headers["cache-control"] == "no-store"


def test_other_hosts_are_let_in_through_tls_only(tmp_path: Path) -> None:
    with pytest.raises(BimetalError, match="without TLS"):
        Site(Machines(), "0.0.0.0:0", "token")
    with pytest.raises(BimetalError, match="certificate"):
        Site(Machines(), "0.0.0.0:0", "token", certificate=str(tmp_path / "missing"))
    for place in ("127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", ":-1"):
        with pytest.raises(BimetalError, match="no place"):
            Site(Machines(), place, "token")


def test_a_token_is_compared_whole() -> None:
    rules = Rules("abc")
    assert rules.accepts("abc")
    assert not any(map(rules.accepts, ("", "ab", "abcd", "ABC", "\ud800")))
