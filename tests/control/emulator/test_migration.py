"""Unmodified libvirt moves running machines of ours from one host to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import images
from tests.boot.verifying import verifying_program
from tests.control.emulator.domains import Domain
from tests.control.emulator.libvirt import Libvirt
from tests.host import need, programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "unshare")]

LAPS = 4


@pytest.fixture(scope="module")
def hosts(launchers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Libvirt]]:
    need("libvirtd", "virsh", "unshare")
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    running = [Libvirt(folder, launchers, folder.name[:3]) for folder in folders]
    try:
        yield running
    finally:
        for each in running:
            for name in each.run("list", "--name").stdout.split():
                each.run("destroy", name)
            each.close()


def test_a_running_machine_goes_to_and_fro(hosts: list[Libvirt], tmp_path: Path) -> None:
    here, there = hosts
    domain = Domain(tmp_path, here.programs / "qemu-system-riscv64")
    image = tmp_path / "disk.qcow2"
    images.create(str(image), "8M", format="qcow2")
    kernel = verifying_program(tmp_path / "program.elf")
    here.virsh("define", domain.file("crab", image, kernel))
    here.virsh("start", "crab")
    for _ in range(LAPS):
        here.virsh(
            "migrate", "--live", "--unsafe", "--persistent", "--undefinesource", "crab", there.uri,
            "--migrateuri", "tcp://127.0.0.1",
        )  # fmt: skip
        assert "crab" not in here.virsh("list", "--all", "--name").split()
        assert there.virsh("domstate", "crab").strip() == "running"
        here, there = there, here
    here.virsh("destroy", "crab")
