"""The Debian installer: a large initial file system and a text screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boot.conftest import Fetch, Terminal
from tests.boot.talks import answers_the_installer

pytestmark = [pytest.mark.boot, pytest.mark.slow]


@pytest.mark.parametrize("name", ["debian-installer-riscv64", "debian-installer-arm64"])
def test_the_installer_asks_its_first_question(
    terminal: Callable[..., Terminal], fetched: Fetch, name: str
) -> None:
    fetched(name)
    answers_the_installer(terminal(name))
