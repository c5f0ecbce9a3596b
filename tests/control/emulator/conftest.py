"""Emulators in a folder of the tests' own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal.control.emulator.launchers import make_launchers


@pytest.fixture(scope="session")
def launchers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our emulators."""
    folder = tmp_path_factory.mktemp("emulators")
    make_launchers(folder)
    return folder
