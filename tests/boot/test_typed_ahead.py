"""What is typed before a machine starts, or before it is reset, is there when a shell reads."""

from __future__ import annotations

import pytest

from bimetal import Machine
from tests.boot.conftest import Fetch

LIMIT = 300


@pytest.mark.slow
@pytest.mark.parametrize("name", ["debian-riscv64", "debian-arm64"])
def test_drivers_lose_nothing_when_they_begin(fetched: Fetch, name: str) -> None:
    guest = fetched(name)
    assert guest.kernel is not None
    with Machine(guest.board, kernel=guest.kernel, initrd=guest.initrd, append=guest.append) as vm:
        vm.console.sendline("echo a long line that is typed ahead: $((6 * 7))")
        vm.start()
        vm.console.expect("typed ahead: 42", timeout=LIMIT)
        vm.reset()
        vm.console.sendline("echo a long line for the next start: $((6 * 8))")
        vm.console.expect("next start: 48", timeout=LIMIT)
