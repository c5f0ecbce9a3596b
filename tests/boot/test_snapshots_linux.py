"""Linux under load, saved and restored again and again: nothing that it checks goes wrong.

The long form takes some minutes for each guest:

    pytest -m slow tests/boot/test_snapshots_linux.py
"""

from __future__ import annotations

import re
from itertools import cycle, islice
from pathlib import Path

import pytest

from bimetal import Machine, fetch_guest

LIMIT = 300

LOAD = """\
S=$(sha256sum < /bin/busybox)
check() { while :; do [ "$(sha256sum < /bin/busybox)" = "$S" ] || echo BAD-SUM; done; }
write() { while :; do dd if=/dev/urandom of=/tmp/$1 bs=64k count=16 2>/dev/null
  cp /tmp/$1 /tmp/$1.b; cmp /tmp/$1 /tmp/$1.b || echo BAD-COPY; done; }
count() { i=0; while :; do i=$((i+1)); echo tick $i; usleep 20000; done; }
"""
"""Work that notices if memory, registers or time are not what they should be."""


def run_under_load(guest: str, cpus: int, hops: int, folder: Path) -> None:
    payload = fetch_guest(guest)
    options = {"kernel": payload.kernel, "initrd": payload.initrd, "append": payload.append}
    snapshot = folder / "snapshot"
    machine = Machine(payload.board, memory="256M", cpus=cpus, background=False, **options)  # type: ignore[arg-type]
    with machine as vm:
        vm.start()
        vm.console.expect("# ", LIMIT)
        vm.console.sendline("stty -echo; PS1=")
        for line in LOAD.splitlines():
            vm.console.sendline(line)
        for number in range(cpus):
            vm.console.sendline(f"check & write {number} &")
        vm.console.sendline("count &")
        last = follow(vm, 0)
        vm.save(snapshot, stop=True)
        assert "BAD" not in vm.console.log
    for hop, accel in enumerate(islice(cycle(("interp", "jit", "jit")), hops)):
        with Machine.restore(snapshot, accel=accel, background=False) as vm:
            vm.start()
            last = follow(vm, last)
            vm.save(snapshot, stop=True, compress=hop % 10 == 9)
            assert "BAD" not in vm.console.log
    with Machine.restore(snapshot, background=False) as vm:
        vm.start()
        follow(vm, last)
        vm.console.sendline("kill $(jobs -p); echo en''d")
        vm.console.sendline("dmesg | grep -ciE 'bug|oops|stall|lockup'")
        vm.console.expect("end", LIMIT)
        vm.console.expect(re.compile("^0", re.MULTILINE), LIMIT)
        vm.console.sendline("exit 0")
        assert vm.wait(LIMIT).code == 0


def follow(vm: Machine, last: int) -> int:
    """Wait for some ticks, none of which may be missing; the last one."""
    for _ in range(3):
        now = int(vm.console.expect(re.compile(r"tick ([0-9]+)\r?\n"), LIMIT).groups[0])
        assert now >= last
        last = now
    return last


@pytest.mark.boot
def test_linux_goes_on_under_load(tmp_path: Path) -> None:
    run_under_load("debian-riscv64", 2, 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guest", "cpus"),
    [("debian-riscv64", 1), ("debian-riscv64", 4), ("debian-arm64", 1), ("debian-arm64", 4)],
)
def test_linux_goes_on_a_hundred_times(guest: str, cpus: int, tmp_path: Path) -> None:
    run_under_load(guest, cpus, 100, tmp_path)
