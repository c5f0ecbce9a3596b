"""Debian's amd64 kernel on the board microvm, without KVM, from power on to power off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bimetal.codegen.interpreter import interpreter
from bimetal.isa.names import architecture
from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Start = Callable[..., Terminal]


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The interpreter is there before a guest is waited for: for the first time that takes longer
    than any answer of a guest."""
    interpreter(architecture("x86_64").isa, shared=False)


@pytest.mark.parametrize("accel", ["interp", "jit"])
def test_a_kernel_boots_obeys_and_switches_off(terminal: Start, fetched: Fetch, accel: str) -> None:
    fetched("debian-cloud-amd64")
    vm = terminal("debian-cloud-amd64", "--accel", accel)
    vm.expect("BIMETAL-GUEST-UP x86_64")
    vm.expect(PROMPT)
    assert vm.do("echo $((6 * 7))") == "42"
    assert vm.do("uname -m") == "x86_64"
    assert vm.do("readlink /proc/self/exe") == "/bin/busybox"
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0
