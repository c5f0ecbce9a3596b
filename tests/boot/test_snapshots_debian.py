"""Debian with systemd under load, saved and restored again and again, each time in another process:
nothing that the programs in it verify goes wrong.

    pytest -m slow tests/boot/test_snapshots_debian.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal import Machine
from tests.boot.conftest import LIMIT, Fetch
from tests.boot.debian import Debian, stress_root_image

HOPS = 100

LOAD = (
    "stress-ng --verify --timeout 0 --cpu 2 --vm 1 --vm-bytes 24M --hdd 1 --hdd-bytes 4M --pipe 1 "
    "--futex 1 --switch 1 --temp-path /tmp --log-file /tmp/stress"
)
"""Work that compares what it computes, stores, writes to disk and sends with what that should be:
computing in many ways, memory, files, pipes, locks, and turns of processes."""

COUNT = "(i=0; while :; do i=$((i+1)); echo tick $i > /dev/console; sleep 0.05; done)"

HOP = """
import re, sys
from bimetal import Machine

path, accel, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Machine.restore(path, accel=accel, background=False) as vm:
    vm.start()
    for _ in range(3):
        found = vm.console.expect(re.compile(r"tick ([0-9]+)\\r?\\n"), 300)
        assert int(found.groups[0]) >= last, found
        last = int(found.groups[0])
    vm.save(path, stop=True)
print(last)
"""


def hop(snapshot: Path, accel: str, last: int) -> int:
    """Go on in another process for some ticks, none of which may be missing; the last one."""
    done = subprocess.run(
        [sys.executable, "-c", HOP, str(snapshot), accel, str(last)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert not done.returncode, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("arch", ["riscv64", "arm64"])
def test_a_debian_goes_on_a_hundred_times(
    fetched: Fetch, tmp_path: Path, arch: str, cpus: int
) -> None:
    guest, disk = fetched(f"debian-{arch}"), stress_root_image(arch)
    snapshot = tmp_path / "snapshot"
    with Machine(
        guest.board,
        memory="512M",
        cpus=cpus,
        kernel=guest.kernel,
        initrd=guest.initrd,
        append=f"{guest.append} quiet bmroot=/dev/vda systemd.show_status=0",
        background=False,
    ) as machine:
        machine.disk(disk, snapshot=True)
        vm = Debian(machine)
        state = vm.do("systemctl is-system-running --wait || true")
        vm.do(f"{LOAD} > /dev/null 2>&1 & {COUNT} & true")
        machine.console.expect(re.compile(r"tick [0-9]+\r?\n"), LIMIT)
        machine.save(snapshot, stop=True)
    last = 0
    for number in range(HOPS):
        last = hop(snapshot, "interp" if number % 10 == 5 else "jit", last)
    with Machine.restore(snapshot, background=False) as machine:
        vm = Debian(machine, restored=True)
        vm.do("kill %2; kill -INT %1; wait %1")
        told = vm.do("cat /tmp/stress")
        assert "fail" not in re.sub("failed: 0|skipped: 0", "", told), told
        assert vm.do("dmesg | grep -cE 'BUG|Oops|stall|lockup|Call Trace'", status=1) == "0"
        assert vm.do("systemctl is-system-running || true") == state
        vm.power_off(machine)
