"""Stock Debian on ``microvm`` under KVM, through the command line, and the same under QEMU.

Times go to ``times.json`` in the folder that BED_SCRATCH names, if it is set.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pexpect
import pytest

from bimetal import fetch_guest
from tests.accel.kvm.quirks import KVM_MISSING, needs
from tests.host import programs
from tests.kvm_bed.hello import LETTER, hello_kernel
from tests.spawned import kill, wait_for_end

pytestmark = pytest.mark.boot

GUEST = "debian-cloud-amd64"
PROMPT = "# "
UP = "BIMETAL-GUEST-UP"
LIMIT = 300
QEMU = "qemu-system-x86_64"
BIMETAL = [sys.executable, "-m", "bimetal", "run"]
APPEND = "console=ttyS0 quiet panic=-1"
NESTED = " clearcpuid=cx16"
"""QEMU's processor spoils the flags when it is interrupted after CMPXCHG16B."""


@pytest.fixture(autouse=True)
def kvm() -> None:
    if KVM_MISSING:
        pytest.skip(KVM_MISSING)
    needs("syscall")


@pytest.fixture
def append() -> str:
    return APPEND + (NESTED if "BED_QEMU" in os.environ else "")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"the first sector".ljust(512, b".") + bytes(1 << 20))
    return path


def note(name: str, seconds: float) -> None:
    """Remember how long something took."""
    print(f"{name}: {seconds:.2f} s")
    if scratch := os.environ.get("BED_SCRATCH"):
        path = Path(scratch) / "times.json"
        times = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**times, name: round(seconds, 2)}, indent=1))


class Watch:
    """A program on a terminal of its own, and the time since it was started."""

    def __init__(self, command: list[str]):
        self.started = time.monotonic()
        self.terminal = pexpect.spawn(
            command[0], command[1:], timeout=LIMIT, encoding="utf-8", codec_errors="replace"
        )

    def until(self, text: str) -> float:
        """Seconds from the start until ``text`` has appeared."""
        self.terminal.expect_exact(text)
        return time.monotonic() - self.started

    def ask(self, command: str, *answers: str) -> None:
        """Type a command at the prompt and wait for what it says."""
        self.terminal.send(f"{command}\n")
        for answer in (*answers, PROMPT):
            self.terminal.expect_exact(answer)

    def end(self) -> int:
        """The exit code, once the program has ended by itself."""
        wait_for_end(self.terminal)
        code = self.terminal.exitstatus
        assert isinstance(code, int), f"ended by signal {self.terminal.signalstatus}"
        return code


def test_debian_boots_to_a_prompt_and_ends_with_an_exit_code(append: str, disk: Path) -> None:
    machine = ["--accel", "kvm", "--board", "microvm", "--cpus", "2", "--memory", "256M"]
    vm = Watch([*BIMETAL, GUEST, *machine, "--append", append, "--disk", str(disk)])
    note("bimetal to /init", vm.until(UP))
    note("bimetal to the prompt", vm.until(PROMPT))
    vm.ask("nproc", "2")
    vm.ask("cat /sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock")
    vm.ask("head -c 16 /dev/vda", "the first sector")
    vm.ask("echo written by the guest | dd of=/dev/vda bs=512 seek=3 conv=fsync 2>/dev/null")
    vm.ask("date +%Y", time.strftime("%Y", time.gmtime()))
    vm.terminal.send("exit 7\n")
    assert vm.end() == 7
    note("bimetal in all", time.monotonic() - vm.started)
    assert disk.read_bytes()[3 * 512 :].startswith(b"written by the guest")


def test_a_guest_that_reboots_ends_the_run_if_asked(append: str) -> None:
    options = ["--accel", "kvm", "--board", "microvm", "--memory", "256M", "--no-reboot"]
    vm = Watch([*BIMETAL, GUEST, *options, "--append", f"{append} bmrun=false bmend=reboot"])
    vm.until("BIMETAL-GUEST-DONE")
    assert vm.end() == 1


def test_the_exit_code_of_a_command_is_that_of_the_run_by_default(append: str) -> None:
    """Without a word about accelerator and board: this KVM is one that ``auto`` chooses."""
    vm = Watch([*BIMETAL, GUEST, "--append", f'{append} bmrun="true; exit 7"'])
    vm.until("accelerator kvm")
    vm.until("BIMETAL-GUEST-RC=7")
    assert vm.end() == 7


@programs(QEMU)
def test_qemu_beside_it(append: str, disk: Path) -> None:
    guest = fetch_guest(GUEST)
    command = f"{QEMU} -accel kvm -cpu host -M microvm,acpi=on,rtc=on -m 256 -smp 2 -nodefaults"
    command += " -nographic -no-reboot -serial stdio"
    files = ["-kernel", str(guest.kernel), "-initrd", str(guest.initrd)]
    drive = [
        "-drive",
        f"id=d,file={disk},format=raw,if=none",
        "-device",
        "virtio-blk-device,drive=d",
    ]
    full = f"console=ttyS0 {append}"
    vm = Watch([*command.split(), *files, *drive, "-append", full])
    note("QEMU to /init", vm.until(UP))
    note("QEMU to the prompt", vm.until(PROMPT))
    vm.ask("nproc", "2")
    vm.ask("head -c 16 /dev/vda", "the first sector")
    vm.terminal.send("exit\n")
    assert vm.end() == 0
    note("QEMU in all", time.monotonic() - vm.started)


def test_the_first_instruction(tmp_path: Path) -> None:
    kernel = tmp_path / "hello.elf"
    kernel.write_bytes(hello_kernel())
    options = ["--accel", "kvm", "--board", "microvm", "--memory", "64M", "--kernel", str(kernel)]
    vm = Watch([*BIMETAL, *options])
    vm.until("\n")  # what the command itself says first
    note("bimetal to the first instruction", vm.until(LETTER))
    assert vm.end() == 0


@programs(QEMU)
def test_the_first_instruction_under_qemu(tmp_path: Path) -> None:
    kernel = tmp_path / "hello.elf"
    kernel.write_bytes(hello_kernel())
    command = f"{QEMU} -accel kvm -M microvm,acpi=on -m 64 -nodefaults -nographic -serial stdio"
    vm = Watch([*command.split(), "-kernel", str(kernel)])
    note("QEMU to the first instruction", vm.until(LETTER))
    kill(vm.terminal)
