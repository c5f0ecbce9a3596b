"""Debian's arm64 kernels on the board arm-virt, from power on to power off."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import Machine
from bimetal.catalogue.newc import Archive
from tests.boot.conftest import PROMPT, Fetch, Terminal
from tests.boot.talks import feels_the_power_key, resets_and_ends
from tests.host import programs

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]

BOARDS = [
    "arm-virt",
    "arm-virt,virtualization=on",
    "arm-virt,gic=3",
    "arm-virt,gic=3,virtualization=on",
]
TROUBLE = "dmesg | grep -e Oops -e BUG -e 'rcu.*stall'"


def test_a_kernel_boots_obeys_and_switches_off(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-arm64")
    vm = terminal("debian-arm64")
    vm.expect("BIMETAL-GUEST-UP aarch64")
    vm.expect(PROMPT)
    assert vm.do("echo $((6 * 7))") == "42"
    assert vm.do("uname -m") == "aarch64"
    assert vm.do("dmesg | grep -c '52-bit Virtual Addressing (LPA2)'") == "1"
    assert vm.do(TROUBLE, status=1) == ""
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
PROTECTED = Path(__file__).parent / "programs" / "protected.c"


@programs(COMPILER, EMULATOR)
@pytest.mark.parametrize(
    "model", ["max", pytest.param("max,pauth-impdef=off", marks=pytest.mark.slow)]
)
def test_a_process_is_told_of_bad_branches_and_pointers(
    terminal: Start, fetched: Fetch, tmp_path: Path, model: str
) -> None:
    """As under QEMU's user emulation, which runs the same program."""
    guest = fetched("debian-arm64")
    program, initrd = tmp_path / "protected", tmp_path / "initrd"
    options = ["-O2", "-Wall", "-Werror", "-static", "-mbranch-protection=standard"]
    subprocess.run([COMPILER, *options, PROTECTED, "-o", program], check=True)
    wanted = subprocess.run(
        [EMULATOR, "-cpu", "max", program], capture_output=True, text=True, check=True
    ).stdout
    assert wanted.count("Illegal instruction") == 3 * 7
    assert wanted.count("Segmentation fault") == 2
    more = Archive()
    more.file("bin/protected", program.read_bytes(), 0o755)
    # Linux unpacks archives that follow each other one after the other.
    initrd.write_bytes(Path(str(guest.initrd)).read_bytes() + more.to_bytes())
    vm = terminal(
        "--kernel", str(guest.kernel), "--initrd", str(initrd), "--board", "arm-virt",
        "--cpu", model, "--append", f"{guest.append} loglevel=3",
    )  # fmt: skip
    vm.expect(PROMPT)
    features = vm.do("dmesg | grep 'CPU features: detected'")
    algorithm = "architected QARMA5" if "off" in model else "IMP DEF"
    assert f"Address authentication ({algorithm} algorithm)" in features
    assert "Branch Target Identification" in features
    assert vm.do("protected") == wanted.strip()
    assert vm.do(TROUBLE, status=1) == ""
    vm.send("exit\r")
    assert vm.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("cpus", ["1", "4"])
@pytest.mark.parametrize("board", BOARDS)
def test_every_controller_at_every_level(
    terminal: Start, fetched: Fetch, board: str, cpus: str
) -> None:
    fetched("debian-arm64")
    # What the kernel says later stands among what commands print.
    said = ("--append", "loglevel=3")
    vm = terminal("debian-arm64", "--board", board, "--cpus", cpus, *said)
    vm.expect("BIMETAL-GUEST-UP aarch64")
    vm.expect(PROMPT)
    assert vm.do("nproc") == cpus
    timers = vm.do("grep arch_timer /proc/interrupts").split()[1 : 1 + int(cpus)]
    assert all(int(each) > 0 for each in timers), "a CPU without ticks"
    # A GICv2 has two names, by whether ends of interrupts deactivate them.
    version = "GICv3" if "gic=3" in board else "GIC\\(-0\\|v2\\)"
    assert vm.do(f"grep -c '{version} .*uart-pl011' /proc/interrupts") == "1"
    level = "EL2" if "virtualization" in board else "EL1"
    assert vm.do(f"dmesg | grep -c 'CPU(s) started at {level}'") == "1"
    assert vm.do(TROUBLE, status=1) == ""
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("board", [BOARDS[0], BOARDS[3]])
def test_a_reset_by_the_kernel_begins_anew(terminal: Start, fetched: Fetch, board: str) -> None:
    fetched("debian-arm64")
    vm = terminal("debian-arm64", "--board", board, "--cpus", "2", "--append", "loglevel=3")
    resets_and_ends(vm, "BIMETAL-GUEST-UP aarch64")


@pytest.mark.slow
def test_the_power_key_is_a_key(fetched: Fetch) -> None:
    """What presses it is the machine; a program in the guest hears of it as of any key."""
    guest = fetched("debian-arm64")
    words = f"{guest.append} quiet"
    with Machine(guest.board, kernel=guest.kernel, initrd=guest.initrd, append=words) as vm:
        feels_the_power_key(vm, "modprobe gpio_keys; modprobe evdev; ls /dev/input", "event0")


@pytest.mark.slow
def test_unstables_kernel(terminal: Start, fetched: Fetch) -> None:
    release = fetched("debian-sid-arm64").versions["linux-image-arm64"].split("-")[0]
    vm = terminal("debian-sid-arm64", "--board", "arm-virt,gic=3,virtualization=on")
    vm.expect(f"BIMETAL-GUEST-UP aarch64 {release}")
    vm.expect(PROMPT)
    assert vm.do("uname -m") == "aarch64"
    assert vm.do(TROUBLE, status=1) == ""
    vm.send("exit\r")
    assert vm.end() == 0


DEBUGGED = Path(__file__).parent / "programs" / "debugged.c"
SAID = """\
breakpoints 6, watchpoints 4
stopped where asked: 1
steps 6
stops 3
stored to 8
loaded from 0
exited 1 with 7
cycles: right
instructions: right
"""


@programs(COMPILER)
def test_a_process_is_debugged_and_counted(terminal: Start, fetched: Fetch, tmp_path: Path) -> None:
    """By the kernel's ptrace and perf, which find breakpoints, steps and the PMU there."""
    guest = fetched("debian-arm64")
    program, initrd = tmp_path / "debugged", tmp_path / "initrd"
    options = ["-O1", "-Wall", "-Werror", "-static"]
    subprocess.run([COMPILER, *options, DEBUGGED, "-o", program], check=True)
    more = Archive()
    more.file("bin/debugged", program.read_bytes(), 0o755)
    initrd.write_bytes(Path(str(guest.initrd)).read_bytes() + more.to_bytes())
    vm = terminal(
        "--kernel", str(guest.kernel), "--initrd", str(initrd), "--board", "arm-virt",
        "--append", f"{guest.append} loglevel=3",
    )  # fmt: skip
    vm.expect(PROMPT)
    assert "armv8_pmuv3" in vm.do("dmesg | grep 'PMU driver'")
    assert vm.do("debugged") == SAID.strip()
    assert vm.do(TROUBLE, status=1) == ""
    vm.send("exit\r")
    assert vm.end() == 0
