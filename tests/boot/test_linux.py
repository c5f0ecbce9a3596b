"""Stock Debian kernels, from power on to power off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]


@pytest.mark.parametrize("name", ["debian-riscv64", "debian-sid-riscv64"])
def test_a_kernel_boots_obeys_and_switches_off(terminal: Start, fetched: Fetch, name: str) -> None:
    release = fetched(name).versions["linux-image-riscv64"].split("-")[0]
    vm = terminal(name)
    vm.expect("Ctrl-A x")
    vm.expect(f"BIMETAL-GUEST-UP riscv64 {release}")
    vm.expect(PROMPT)
    assert vm.do("echo $((6 * 7))") == "42"
    assert vm.do("uname -m") == "riscv64"
    assert "rv64ima" in vm.do("cat /proc/cpuinfo")
    assert vm.do("cat /proc/self/maps | wc -l").isdigit()
    assert vm.do("dmesg | grep -c -e Oops -e BUG -e 'rcu.*stall'", status=1) == "0"
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


def test_commands_on_the_kernels_command_line(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", 'quiet bmrun="nproc; false"', "--memory", "256M")
    vm.expect("BIMETAL-GUEST-UP")
    assert vm.expect("BIMETAL-GUEST-RC=1").split()[-1] == "1"
    assert vm.end() == 0


def test_four_harts(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--cpus", "4", "--append", "quiet")
    vm.expect(PROMPT)
    assert vm.do("nproc") == "4"
    count = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo done"
    workers = " ".join(f"(taskset {1 << n:x} sh -c '{count}') &" for n in range(4))
    assert vm.do(f"{workers} wait").count("done") >= 4
    vm.send("exit\r")
    assert vm.end() == 0


def test_a_guest_that_resets_ends_if_asked_to(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--no-reboot", "--append", "quiet bmrun=true bmend=reboot")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


def test_a_guest_that_resets_boots_again(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", "quiet bmrun=true bmend=reboot")
    vm.expect("BIMETAL-GUEST-UP")
    vm.expect("BIMETAL-GUEST-DONE")
    vm.expect("BIMETAL-GUEST-UP")
    vm.send("\x01x")
    assert vm.end() == 0


def test_control_c_goes_to_the_guest_and_the_escape_key_to_us(
    terminal: Start, fetched: Fetch
) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", "quiet")
    vm.expect(PROMPT)
    vm.send("echo waiting; sleep 10000\r")
    vm.expect("\nwaiting")
    vm.send("\x03")
    vm.expect(PROMPT)
    vm.do("true")
    vm.send("\x01h")
    vm.expect("Ctrl-A x")
    vm.send("\x01x")
    assert vm.end() == 0
