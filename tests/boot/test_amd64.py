"""Debian's kernels for amd64 and i386 on the board microvm, without KVM, from power on to power
off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal, compile_x86

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Start = Callable[..., Terminal]

MACHINES = {
    "debian-cloud-amd64": "x86_64",
    "debian-amd64": "x86_64",
    "debian-sid-amd64": "x86_64",
    "debian-i386": "i686",
}
"""What each kernel calls the machine."""
TROUBLE = "dmesg | grep -e Oops -e BUG -e 'rcu.*stall' -e 'WARNING:'"


DOUBTS = "dmesg | grep -e Oops -e BUG: -e 'rcu.*stall' -e unstable -e unchecked -e 'WARNING: CPU'"
"""Time stamps that the kernel does not trust, registers that it expects of a processor."""


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_x86()


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("accel", ["interp", "jit"])
@pytest.mark.parametrize("guest", MACHINES)
def test_a_kernel_boots_obeys_and_switches_off(
    terminal: Start, fetched: Fetch, guest: str, accel: str, cpus: int
) -> None:
    fetched(guest)
    vm = terminal(guest, "--accel", accel, "--cpus", str(cpus))
    vm.expect(f"BIMETAL-GUEST-UP {MACHINES[guest]}")
    vm.expect(PROMPT)
    assert vm.do("echo $((6 * 7))") == "42"
    assert vm.do("uname -m") == MACHINES[guest]
    assert vm.do("nproc") == str(cpus)
    assert vm.do("readlink /proc/self/exe") == "/bin/busybox"
    assert vm.do(TROUBLE, status=1) == ""
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


@pytest.mark.parametrize(
    ("model", "there", "missing", "name"),
    [
        ("qemu64", {"cx16", "lahf_lm"}, {"ssse3", "rdtscp", "smep"}, "QEMU Virtual CPU"),
        ("Nehalem,+aes", {"sse4_2", "popcnt", "aes"}, {"avx", "xsave", "pcid"}, "Nehalem Class"),
        ("x86-64-v3", {"avx2", "bmi2", "fma", "smap"}, {"adx", "sha_ni", "aes"}, "Bimetal"),
        ("EPYC", {"avx2", "sha_ni", "rdrand"}, {"pcid", "clwb", "vaes"}, "AMD EPYC"),
    ],
)
def test_a_kernel_finds_the_processor_that_was_chosen(
    terminal: Start, fetched: Fetch, model: str, there: set[str], missing: set[str], name: str
) -> None:
    fetched("debian-cloud-amd64")
    vm = terminal("debian-cloud-amd64", "--accel", "jit", "--cpu", model)
    vm.expect(PROMPT)
    flags = set(vm.do("grep -m1 ^flags /proc/cpuinfo").split())
    assert there <= flags
    assert not missing & flags
    assert name in vm.do("grep -m1 '^model name' /proc/cpuinfo")
    assert vm.do(DOUBTS, status=1) == ""
    assert vm.do("dmesg | grep -c 'tsc: Detected 1000.000 MHz'") == "1"
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0
