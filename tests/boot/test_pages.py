"""Processes that map memory and unmap it see nobody else's pages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bimetal import Machine
from bimetal.catalogue.newc import Archive
from tests.boot.conftest import LIMIT, Fetch
from tests.host import programs

PROGRAM = Path(__file__).parent / "programs" / "pages.c"
COMPILERS = {"arm64": "aarch64-linux-gnu-gcc", "riscv64": "riscv64-linux-gnu-gcc"}

pytestmark = [pytest.mark.boot, pytest.mark.slow, programs(*COMPILERS.values())]


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("arch", COMPILERS)
def test_memory_is_new_when_it_is_mapped(
    fetched: Fetch, tmp_path: Path, arch: str, cpus: int
) -> None:
    guest = fetched(f"debian-{arch}")
    program, initrd = tmp_path / "pages", tmp_path / "initrd"
    subprocess.run(
        [COMPILERS[arch], "-O2", "-Wall", "-Werror", "-static", PROGRAM, "-o", program], check=True
    )
    more = Archive()
    more.file("bin/pages", program.read_bytes(), 0o755)
    initrd.write_bytes(Path(str(guest.initrd)).read_bytes() + more.to_bytes())
    with Machine(
        guest.board,
        cpus=cpus,
        kernel=guest.kernel,
        initrd=initrd,
        append=f"{guest.append} quiet bmrun=pages",
    ) as vm:
        vm.start()
        said = vm.console.expect("BIMETAL-GUEST-RC=", timeout=LIMIT).before
        assert "RIGHT" in said, said
        assert "WRONG" not in said
        vm.wait(timeout=LIMIT)
