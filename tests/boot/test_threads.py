"""Several harts at once: atomics, message passing, locks, and memory that processes share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.catalogue.newc import Archive
from tests.boot.conftest import Fetch, Terminal
from tests.host import programs

COMPILER = "riscv64-linux-gnu-gcc"
PROGRAM = Path(__file__).parent / "programs" / "threads.c"
ROUNDS = 3

pytestmark = [
    pytest.mark.boot,
    programs(COMPILER),
]

Start = Callable[..., Terminal]


@pytest.mark.parametrize("accel", ["jit", pytest.param("interp", marks=pytest.mark.slow)])
def test_four_harts_count_right(
    terminal: Start, fetched: Fetch, tmp_path: Path, accel: str
) -> None:
    guest = fetched("debian-riscv64")
    program, initrd = tmp_path / "threads", tmp_path / "initrd"
    subprocess.run(
        [COMPILER, "-O2", "-Wall", "-Werror", "-static", "-pthread", PROGRAM, "-o", program],
        check=True,
    )
    more = Archive()
    more.file("bin/threads", program.read_bytes(), 0o755)
    # Linux unpacks archives that follow each other one after the other.
    initrd.write_bytes(Path(str(guest.initrd)).read_bytes() + more.to_bytes())
    commands = "; ".join(["threads"] * ROUNDS)
    vm = terminal(
        "--kernel", str(guest.kernel), "--initrd", str(initrd), "--cpus", "4",
        "--accel", accel, "--append", f'console=ttyS0 quiet bmrun="{commands}"',
    )  # fmt: skip
    vm.expect("BIMETAL-GUEST-UP")
    said = vm.expect("BIMETAL-GUEST-DONE")
    assert said.count("RIGHT") == ROUNDS, said
    assert "WRONG" not in said
    assert vm.end() == 0
