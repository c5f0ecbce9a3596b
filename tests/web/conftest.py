"""A page of one user's machines, served in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bimetal.web.serving import Site, new_token
from tests.boot.conftest import fetched
from tests.control.conftest import homes
from tests.control.homes import LIMIT, Homes
from tests.web.browser import Browser

__all__ = ["browser", "fetched", "homes", "serving", "site"]


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """A context in which a page is served."""
    thread = threading.Thread(target=site.run)
    thread.start()
    try:
        yield site
    finally:
        site.stop()
        thread.join(LIMIT)
        site.close()


@pytest.fixture
def site(homes: Homes) -> Iterator[Site]:
    """The page, at a port of this host."""
    with serving(Site(homes.machines, "127.0.0.1:0", new_token())) as made:
        yield made


@pytest.fixture
def browser(site: Site) -> Browser:
    """Somebody who has the token."""
    return Browser(site)
