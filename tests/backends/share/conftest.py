"""A folder of the host, and servers of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimetal.backends.share.folder import Folder
from bimetal.backends.share.server import Server
from tests.backends.share.client import Client

Share = Callable[..., Client]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be shared, with a secret beside it."""
    (tmp_path / "secret").write_text("nobody's business")
    shared = tmp_path / "shared"
    shared.mkdir()
    return shared


@pytest.fixture
def share(folder: Path) -> Iterator[Share]:
    """Serve the folder, with the options of `Folder`; the client."""
    servers: list[Server] = []

    def start(*, uid: int = 0, size: int = 64 << 10, **options: object) -> Client:
        servers.append(Server(Folder(str(folder), **options)))  # type: ignore[arg-type]
        return Client(servers[-1], uid, size)

    yield start
    for server in servers:
        server.close()
