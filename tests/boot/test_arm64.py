"""Debian's arm64 kernel on the board arm-virt, from power on to power off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = pytest.mark.boot


def test_a_kernel_boots_obeys_and_ends_with_an_exit_code(
    terminal: Callable[..., Terminal], fetched: Fetch
) -> None:
    fetched("debian-arm64")
    vm = terminal("debian-arm64")
    vm.expect("BIMETAL-GUEST-UP aarch64")
    vm.expect(PROMPT)
    assert vm.do("echo $((6 * 7))") == "42"
    assert vm.do("uname -m") == "aarch64"
    assert vm.do("dmesg | grep -c -e Oops -e BUG -e 'rcu.*stall'", status=1) == "0"
    vm.send("exit 7\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 7
