"""A page of one user's machines, served in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bimetal.web.serving import Site, new_token
from tests.control.conftest import homes
from tests.control.homes import LIMIT, Homes
from tests.web.browser import Browser

__all__ = ["browser", "homes", "site"]


@pytest.fixture
def site(homes: Homes) -> Iterator[Site]:
    """The page, at a port of this host."""
    made = Site(homes.machines, "127.0.0.1:0", new_token(), names=["desk.example"])
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(LIMIT)
    made.close()


@pytest.fixture
def browser(site: Site) -> Browser:
    """Somebody who has the token."""
    return Browser(site)
