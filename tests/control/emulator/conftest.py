"""Emulators in a folder of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import BimetalError, Payload, fetch_guest
from bimetal.control.emulator.launchers import make_launchers
from tests.control.emulator.libvirt import Libvirt, libvirt_of_trixie
from tests.host import lacking, need


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


@pytest.fixture(scope="module", params=["this host's", "Debian 13's"])
def libvirt(
    request: pytest.FixtureRequest, launchers: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Libvirt]:
    """libvirt, which finds our emulators; its machines are ended at the end."""
    need("libvirtd", "virsh", "unshare", "nsenter")
    root = Path("/") if request.param == "this host's" else libvirt_of_trixie()
    running = Libvirt(tmp_path_factory.mktemp("lv"), launchers, root=root)
    try:
        yield running
    finally:
        for name in running.virsh("list", "--name").split():
            running.run("destroy", name)
        running.close()
