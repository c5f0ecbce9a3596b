"""UEFI as Debian builds it (AAVMF): its shell, its variables, and kernels that it starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from bimetal import Machine
from bimetal.catalogue import GUESTS
from bimetal.catalogue.guests import FileOf, Guest
from tests.boot.conftest import LIMIT, PROMPT, Fetch, Terminal
from tests.boot.fat import make_fat_disk
from tests.boot.talks import answers_the_installer, feels_the_power_key, resets_and_ends

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Start = Callable[..., Terminal]

UP = "BIMETAL-GUEST-UP aarch64"
TROUBLE = "dmesg | grep -e Oops -e BUG -e 'rcu.*stall' -e 'ACPI Error' -e 'ACPI.*Exception'"
BOARDS = [
    ("arm-virt", "1"),
    ("arm-virt", "4"),
    ("arm-virt,gic=3", "1"),
    ("arm-virt,gic=3", "4"),
    ("arm-virt,gic=3,virtualization=on", "4"),
]
MANAGER = Guest(
    name="test-systemd-boot-arm64",
    summary="a boot manager that UEFI starts",
    architecture="arm64",
    suite="trixie",
    board="arm-virt",
    packages=("systemd-boot-efi",),
    files={"bios": FileOf("usr/lib/systemd/boot/efi/systemd-bootaa64.efi")},
)


def at_the_shell(vm: Terminal) -> None:
    """Wait for the shell, which gives five seconds to stop a script that is not there."""
    vm.expect("Shell>")


def test_the_shell(terminal: Start, fetched: Fetch) -> None:
    fetched("uefi-arm64")
    vm = terminal("uefi-arm64")
    at_the_shell(vm)
    vm.send("ver\r")
    vm.expect("EDK II")
    at_the_shell(vm)
    vm.send("reset -s\r")
    assert vm.end() == 0


def test_the_shell_is_on_the_screen(fetched: Fetch, tmp_path: Path) -> None:
    """The firmware's console is on the serial port and on the screen: what is typed at the one is
    seen on the other, a letter of 8 by 19 pixels."""
    guest = fetched("uefi-arm64")
    with Machine(guest.board, bios=guest.bios) as vm:
        vm.video("ramfb")
        vm.start()
        vm.console.expect("Shell>", LIMIT)
        shown = []
        for letter in "xy":
            vm.console.send(letter)
            vm.console.expect(letter, LIMIT)
            vm.screendump(tmp_path / letter)
            with Image.open(tmp_path / letter) as picture:
                shown.append(picture.copy())
    assert shown[0].size == shown[1].size >= (640, 480)
    left, top, right, bottom = ImageChops.difference(*shown).getbbox() or (0, 0, 0, 0)
    assert 0 < bottom - top <= 19
    assert 0 < right - left <= 2 * 8, "a letter, and perhaps the cursor behind it"


@pytest.mark.parametrize(("board", "cpus"), BOARDS)
def test_linux_learns_of_the_machine_by_acpi(
    terminal: Start, fetched: Fetch, board: str, cpus: str
) -> None:
    bios = fetched("uefi-arm64").bios
    fetched("debian-arm64")
    said = ("--append", "loglevel=3")
    vm = terminal("debian-arm64", "--bios", str(bios), "--board", board, "--cpus", cpus, *said)
    vm.expect(UP)
    vm.expect(PROMPT)
    assert vm.do("dmesg | grep -c 'efi: EFI v2'") == "1"
    assert vm.do("ls /sys/firmware/acpi/tables").split()[:5] == "APIC DBG2 DSDT FACP GTDT".split()
    assert vm.do("ls -d /proc/device-tree", status=1).endswith("No such file or directory")
    assert vm.do("nproc") == cpus
    timers = vm.do("grep arch_timer /proc/interrupts").split()[1 : 1 + int(cpus)]
    assert all(int(each) > 0 for each in timers), "a CPU without ticks"
    version = "GICv3" if "gic=3" in board else "GIC\\(-0\\|v2\\)"
    assert vm.do(f"grep -c '{version} .*uart-pl011' /proc/interrupts") == "1"
    dmi = "/sys/class/dmi/id"
    assert vm.do(f"cat {dmi}/sys_vendor {dmi}/product_name {dmi}/product_version").split("\n") == [
        *("Bimetal", "Virtual machine", "arm-virt"),
    ]
    assert vm.do(TROUBLE, status=1) == ""
    # The finisher, by which the shell's exit code gets out, is one of ACPI's devices here.
    vm.send("exit 5\r")
    assert vm.end() == 5


@pytest.mark.parametrize("board", ["arm-virt,acpi=on", "arm-virt,acpi=off"])
def test_disks_have_the_order_in_which_they_were_given(
    terminal: Start, fetched: Fetch, tmp_path: Path, board: str
) -> None:
    bios = fetched("uefi-arm64").bios
    fetched("debian-arm64")
    words: list[str] = []
    for name in ("first", "second", "third"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
        words += ["--disk", f"{tmp_path / name},serial={name}"]
    said = ("--append", "loglevel=3")
    vm = terminal("debian-arm64", "--bios", str(bios), "--board", board, *said, *words)
    vm.expect(UP)
    vm.expect(PROMPT)
    shown = vm.do("for each in a b c; do cat /sys/block/vd$each/serial; echo; done")
    assert shown.split() == ["first", "second", "third"]
    vm.send("exit\r")
    assert vm.end() == 0


def test_linux_learns_of_the_machine_by_its_device_tree(terminal: Start, fetched: Fetch) -> None:
    bios = fetched("uefi-arm64").bios
    fetched("debian-arm64")
    vm = terminal("debian-arm64", "--bios", str(bios), "--board", "arm-virt,acpi=off")
    vm.expect(UP)
    vm.expect(PROMPT)
    assert vm.do("dmesg | grep -c 'efi: EFI v2'") == "1"
    assert vm.do("ls -d /sys/firmware/acpi", status=1)
    assert vm.do("cat /sys/class/dmi/id/product_version") == "arm-virt"
    vm.send("exit\r")
    assert vm.end() == 0


def test_a_reset_by_the_kernel_begins_with_the_firmware(terminal: Start, fetched: Fetch) -> None:
    bios = fetched("uefi-arm64").bios
    fetched("debian-arm64")
    words = ("--bios", str(bios), "--cpus", "2", "--append", "loglevel=3")
    vm = terminal("debian-arm64", *words)
    resets_and_ends(vm, "UEFI firmware", UP)


def test_the_power_key_of_acpi(fetched: Fetch) -> None:
    """What presses it is the machine; a program in the guest hears of it as of any key."""
    guest, bios = fetched("debian-arm64"), fetched("uefi-arm64").bios
    words = f"{guest.append} quiet"
    with Machine(
        guest.board, kernel=guest.kernel, initrd=guest.initrd, bios=bios, append=words
    ) as vm:
        device = "/sys/class/input/event0/device/name"
        feels_the_power_key(vm, f"modprobe evdev; cat {device}", "Power Button")


def test_the_installer_asks_its_first_question(terminal: Start, fetched: Fetch) -> None:
    """It has the drivers of servers, and no device tree."""
    bios = fetched("uefi-arm64").bios
    fetched("debian-installer-arm64")
    vm = terminal("debian-installer-arm64", "--bios", str(bios))
    vm.expect("ACPI: Interpreter enabled")
    answers_the_installer(vm)


def test_the_shell_starts_a_kernel_from_a_disk(
    terminal: Start, fetched: Fetch, tmp_path: Path
) -> None:
    linux = fetched("debian-arm64")
    fetched("uefi-arm64")
    assert linux.kernel is not None
    assert linux.initrd is not None
    files = {"linux.efi": linux.kernel, "boot/initrd": linux.initrd}
    disk = make_fat_disk(tmp_path / "disk.img", files)
    vm = terminal("uefi-arm64", "--disk", str(disk), "--net", "none")
    at_the_shell(vm)
    vm.send("fs0:\r")
    vm.expect("FS0:\\>")
    vm.send("linux.efi initrd=\\boot\\initrd console=ttyAMA0 loglevel=3\r")
    vm.expect(UP)
    vm.expect(PROMPT)
    assert "initrd=\\boot\\initrd" in vm.do("cat /proc/cmdline")
    vm.send("exit\r")
    assert vm.end() == 0


def test_firmware_starts_a_boot_manager_from_a_disk(
    terminal: Start, fetched: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As installed systems are started: by the program that has the name for removable media."""
    monkeypatch.setitem(GUESTS, MANAGER.name, MANAGER)
    linux, manager = fetched("debian-arm64"), fetched(MANAGER.name).bios
    fetched("uefi-arm64")
    assert linux.kernel is not None
    assert linux.initrd is not None
    assert manager is not None
    entry = "title Linux\nlinux /linux\ninitrd /initrd\noptions console=ttyAMA0 loglevel=3\n"
    files: dict[str, Path | str] = {
        "EFI/BOOT/BOOTAA64.EFI": manager,
        "loader/entries/linux.conf": entry,
        "linux": linux.kernel,
        "initrd": linux.initrd,
    }
    disk = make_fat_disk(tmp_path / "disk.img", files)
    vm = terminal("uefi-arm64", "--disk", str(disk))
    vm.expect(UP)
    vm.expect(PROMPT)
    assert vm.do("ls /sys/firmware/acpi/tables | head -n1") == "APIC"
    vm.send("exit\r")
    assert vm.end() == 0


def test_variables_are_there_the_next_time(terminal: Start, fetched: Fetch, tmp_path: Path) -> None:
    """A variable of one run is found by the next one, which is another process."""
    code = fetched("uefi-arm64").bios
    variables = tmp_path / "variables"
    with variables.open("wb") as file:
        file.truncate(64 << 20)
    words = ("--board", "arm-virt", "--flash", str(code), "--flash", str(variables))
    vm = terminal(*words)
    at_the_shell(vm)
    vm.send('setvar greeting -guid 11111111-2222-3333-4444-555555555555 -nv -bs =L"hello"\r')
    at_the_shell(vm)
    vm.send("reset -s\r")
    assert vm.end() == 0
    vm = terminal(*words)
    at_the_shell(vm)
    vm.send("setvar greeting -guid 11111111-2222-3333-4444-555555555555\r")
    vm.expect("68 00 65 00 6C 00 6C 00 6F 00")
    at_the_shell(vm)
    vm.send("reset -s\r")
    assert vm.end() == 0
