"""Guests that were forked or restored draw different random numbers, since they know of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bimetal import Machine, fetch_guest

LIMIT = 300
NUMBER = re.compile("n=([0-9a-f]{64})=")
DRAW = "echo n=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')="


@pytest.mark.boot
@pytest.mark.parametrize(
    ("guest", "firmware"),
    [
        ("debian-riscv64", None),
        ("debian-arm64", None),
        pytest.param("debian-arm64", "uefi-arm64", marks=pytest.mark.slow),
    ],
)
def test_copies_of_a_guest_draw_different_numbers(
    guest: str, firmware: str | None, tmp_path: Path
) -> None:
    """They are told by the device tree, or by ACPI where firmware hands that on."""
    payload = fetch_guest(guest)
    options = {"kernel": payload.kernel, "initrd": payload.initrd, "append": payload.append}
    if firmware is not None:
        options["bios"] = fetch_guest(firmware).bios
    drawn = []
    with Machine(payload.board, memory="256M", background=False, **options) as vm:  # type: ignore[arg-type]
        vm.start()
        vm.console.expect("# ", LIMIT)
        vm.console.sendline("sleep 1; dmesg | grep -c 'crng reseeded due to virtual machine fork'")
        vm.console.expect(re.compile("^0", re.MULTILINE), LIMIT)
        vm.console.expect("# ", LIMIT)
        vm.save(tmp_path / "snapshot")
        with vm.fork(2) as forks:
            for fork in forks:
                fork.console.sendline(DRAW)
                drawn.append(fork.console.expect(NUMBER, LIMIT).groups[0])
    for _ in range(2):
        with Machine.restore(tmp_path / "snapshot", background=False) as vm:
            vm.start()
            vm.console.sendline(DRAW)
            drawn.append(vm.console.expect(NUMBER, LIMIT).groups[0])
            vm.console.sendline("dmesg | tail -1")
            vm.console.expect("crng reseeded due to virtual machine fork", LIMIT)
            vm.console.sendline("exit")
            assert vm.wait(LIMIT).code == 0
    assert len(set(drawn)) == len(drawn)
