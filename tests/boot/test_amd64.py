"""Debian's kernels for amd64 and i386 on the board microvm, without KVM, from power on to power
off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bimetal.codegen.interpreter import interpreter
from bimetal.isa.names import architecture
from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Start = Callable[..., Terminal]

MACHINES = {
    "debian-cloud-amd64": "x86_64",
    "debian-amd64": "x86_64",
    "debian-sid-amd64": "x86_64",
    "debian-i386": "i686",
}
"""What each kernel calls the machine."""
TROUBLE = "dmesg | grep -c -e Oops -e BUG -e 'rcu.*stall' -e 'WARNING:'"


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The interpreter is there before a guest is waited for: for the first time that takes longer
    than any answer of a guest."""
    interpreter(architecture("x86_64").isa, shared=False)


@pytest.mark.parametrize("accel", ["interp", "jit"])
@pytest.mark.parametrize("guest", MACHINES)
def test_a_kernel_boots_obeys_and_switches_off(
    terminal: Start, fetched: Fetch, guest: str, accel: str
) -> None:
    fetched(guest)
    vm = terminal(guest, "--accel", accel)
    vm.expect(f"BIMETAL-GUEST-UP {MACHINES[guest]}")
    vm.expect(PROMPT)
    assert vm.do("echo $((6 * 7))") == "42"
    assert vm.do("uname -m") == MACHINES[guest]
    assert vm.do("readlink /proc/self/exe") == "/bin/busybox"
    assert vm.do(TROUBLE, status=1) == "0"
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0
