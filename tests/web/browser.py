"""The simplest client of the page: requests, one a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from bimetal.web.serving import Site
from tests.control.homes import LIMIT

__all__ = ["Browser", "Reply"]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def value(self) -> Any:
        """The content as JSON."""
        return json.loads(self.content)


class Browser:
    """Asks ``site``, with its token if nothing else is said."""

    def __init__(self, site: Site):
        self.place = urlsplit(site.address).netloc
        self.authorization = {"Authorization": f"Bearer {site.token}"}

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Reply:
        """A request with exactly these headers."""
        connection = HTTPConnection(self.place, timeout=LIMIT)
        try:
            connection.request(method, path, content, dict(headers))
            answer = connection.getresponse()
            return Reply(answer.status, {**answer.headers}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Reply:
        """Look."""
        asked = f"/api/{quote(path)}?{urlencode(query)}"
        return self.send("GET", asked, self.authorization)

    def post(self, path: str, **arguments: Any) -> Reply:
        """Do something; underscores in names of arguments stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        headers = {**self.authorization, "Content-Type": "application/json"}
        return self.send("POST", f"/api/{quote(path)}", headers, json.dumps(given).encode())
