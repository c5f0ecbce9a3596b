"""Emulators in a folder of the tests' own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import BimetalError, Payload, fetch_guest
from bimetal.control.emulator.launchers import make_launchers
from tests.host import lacking


@pytest.fixture(scope="session")
def launchers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our emulators."""
    folder = tmp_path_factory.mktemp("emulators")
    make_launchers(folder)
    return folder


@pytest.fixture(scope="session")
def guest() -> Payload:
    """Debian's kernel with a shell, for RISC-V."""
    try:
        return fetch_guest("debian-riscv64")
    except BimetalError as error:
        lacking(str(error))
        raise
