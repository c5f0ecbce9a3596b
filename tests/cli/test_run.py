"""``bimetal run``: what becomes of the options, on a machine that only takes notes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bimetal
from bimetal import GUESTS, Ending, ExitCode, Machine, Payload, Result
from bimetal.cli import run
from bimetal.machine.profile import GuestProfile, ProfileRow
from tests.cli.conftest import Cli


@dataclass
class Notes:
    """What the command did with its machine, and how the machine shall end."""

    options: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)
    where: str = ""
    result: Result = field(default_factory=lambda: Result(Ending.POWER_OFF, 0))


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """A machine that takes notes stands in for the real one."""
    taken = Notes()

    class NotedMachine:
        def __init__(self, board: str, **options: Any):
            taken.options = {"board": board, **options}
            self.board, self.accel, self.cpus = board, "interp", [None] * options["cpus"]
            self.config = SimpleNamespace(
                memory=512 << 20, append=options["append"], cpus=options["cpus"]
            )
            self.console = SimpleNamespace(
                pipe=lambda *told: taken.ends.append(told), where=taken.where
            )

        boards = staticmethod(Machine.boards)

        def __enter__(self) -> NotedMachine:
            return self

        def __exit__(self, *_: object) -> None:
            taken.calls.append("close")

        @staticmethod
        def abandon() -> None:
            taken.calls.append("abandon")

        def disk(self, path: str, **options: Any) -> None:
            taken.calls.append(f"disk {path} {options}")

        def nic(self, network: str) -> None:
            taken.calls.append(f"nic {network}")

        def start(self) -> None:
            taken.calls.append("start")

        def wait(self) -> Result:
            taken.calls.append("wait")
            return taken.result

        def stats(self) -> str:
            return "42 exits"

        def start_profile(self, symbols: Sequence[str]) -> None:
            taken.calls.append(f"profile {[*symbols]}")

        def profile(self) -> GuestProfile:
            row = ProfileRow(1.0, 1, "user", "translated", "a.elf", "main")
            return GuestProfile((row,) * 100, 100, 7)

    def fetched(name: str, progress: object) -> Payload:
        guest = GUESTS[name]
        where = Path("/cache") / name
        return Payload(guest, where / "kernel", where / "initrd", None, {})

    monkeypatch.setattr(run, "Machine", NotedMachine)
    monkeypatch.setattr(bimetal, "fetch_guest", fetched)
    return taken


def test_a_guest_brings_its_own_options(cli: Cli, notes: Notes) -> None:
    told = cli("run", "debian-installer-riscv64")
    assert told.code == 0
    assert notes.options == {
        "board": "riscv-virt",
        "memory": "1G",
        "cpus": 1,
        "kernel": "/cache/debian-installer-riscv64/kernel",
        "kernel_format": "auto",
        "initrd": "/cache/debian-installer-riscv64/initrd",
        "append": "console=ttyS0 DEBIAN_FRONTEND=text",
        "bios": None,
        "flash": (),
        "dtb": None,
        "dtb_overlays": (),
        "accel": "auto",
        "cpu_model": "",
        "serial": "stdio",
        "reboot": True,
        "semihosting": False,
        "hvc": None,
        "background": True,
    }
    assert notes.calls == ["nic user", "start", "wait", "close"]


def test_what_is_given_goes_before_what_the_guest_brings(cli: Cli, notes: Notes) -> None:
    words = "run debian-riscv64 --kernel mine -m 2G --smp 4 --append quiet --bios fw.bin".split()
    assert cli(*words).code == 0
    assert notes.options["kernel"] == "mine"
    assert notes.options["initrd"] == "/cache/debian-riscv64/initrd"
    assert notes.options["append"] == "console=ttyS0 bminput=pipe TERM=dumb quiet"
    assert notes.ends == [("BIMETAL-GUEST-UP", "\x04")]
    assert notes.options["memory"] == "2G"
    assert notes.options["cpus"] == 4
    assert notes.options["bios"] == "fw.bin"


def test_only_our_own_first_process_is_told_of_the_console(cli: Cli, notes: Notes) -> None:
    cli("run", "debian-riscv64", "--initrd", "mine.cpio")
    assert notes.options["append"] == "console=ttyS0"
    cli("run", "debian-installer-riscv64")
    assert notes.options["append"] == "console=ttyS0 DEBIAN_FRONTEND=text"
    assert notes.ends == []


def test_a_guest_that_has_a_terminal_follows_its_size(
    cli: Cli, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda fd: fd < 2)
    monkeypatch.setattr("os.get_terminal_size", lambda fd: os.terminal_size((132, 43)))
    for words, follows in (
        ([], True),
        (["--disk", "x"] * 5, True),
        (["--disk", "x"] * 6, False),  # a disk goes first
        (["--append", "bmroot=/dev/vda"], False),  # which knows nothing of it
        (["--initrd", "own"], False),
        (["--serial", "pty"], False),
    ):
        cli("run", "debian-riscv64", *words)
        assert notes.options["hvc"] == ("none" if follows else None), words
        assert ("bmsize=132x43,hvc0" in notes.options["append"]) is follows, words
    cli("run", "debian-installer-riscv64")
    assert notes.options["hvc"] is None


def test_flash_chips_are_enough_to_run(cli: Cli, notes: Notes) -> None:
    words = "run --board arm-virt --flash code.fd --flash vars.fd".split()
    assert cli(*words).code == 0
    assert notes.options["flash"] == ("code.fd", "vars.fd")
    assert notes.options["bios"] is None


def test_files_of_ones_own(cli: Cli, notes: Notes) -> None:
    words = "run --kernel Image --initrd i.cpio --accel interp --serial none".split()
    assert cli(*words, "--no-reboot", "--no-background").code == 0
    assert notes.options == {
        "board": "riscv-virt",
        "memory": "512M",
        "cpus": 1,
        "kernel": "Image",
        "kernel_format": "auto",
        "initrd": "i.cpio",
        "append": "",
        "bios": None,
        "flash": (),
        "dtb": None,
        "dtb_overlays": (),
        "accel": "interp",
        "cpu_model": "",
        "serial": "none",
        "reboot": False,
        "semihosting": False,
        "hvc": None,
        "background": False,
    }


def test_switches_may_be_repeated(cli: Cli, notes: Notes) -> None:
    assert cli("run", "--kernel", "k", "--stats", "--stats", "--no-reboot", "--no-reboot").code == 0


def test_a_guest_with_a_kernel_of_ones_own_may_be_on_another_board(cli: Cli, notes: Notes) -> None:
    cli("run", "debian-riscv64", "--board", "microvm", "--kernel", "bzImage")
    assert notes.options["board"] == "microvm"


def test_an_architecture_names_its_board(cli: Cli, notes: Notes) -> None:
    cli("run", "--kernel", "vmlinux", "--arch", "x86_64")
    assert notes.options["board"] == "microvm"


def test_processor_models(cli: Cli, notes: Notes) -> None:
    cli("run", "--kernel", "vmlinux", "--arch", "x86_64", "--cpu", "x86-64-v2,-aes")
    assert notes.options["cpu_model"] == "x86-64-v2,-aes"


def test_processor_models_are_listed(cli: Cli) -> None:
    listed = cli("run", "--cpu", "help", "--accel", "jit")
    assert (listed.code, listed.out) == (0, "rv64\n")
    of_board = cli("run", "--cpu", "help", "--accel", "jit", "--board", "microvm")
    assert of_board.code == 0
    models = of_board.out.split()
    assert models[:4] == ["max", "x86-64-v1", "x86-64-v2", "x86-64-v3"]
    assert {"qemu64", "Nehalem", "EPYC"} <= {*models}
    of_guest = cli("run", "debian-cloud-amd64", "--cpu", "help", "--accel", "interp")
    assert (of_guest.code, of_guest.out) == (0, of_board.out)


@pytest.mark.parametrize("option", ["--board", "--machine"])
def test_boards_are_listed_with_their_options(cli: Cli, option: str) -> None:
    listed = cli("run", option, "help")
    assert listed.code == 0
    lines = listed.out.splitlines()
    boards = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert boards == sorted(Machine.boards())
    assert "  RISC-V harts with " in next(line for line in lines if line.startswith("riscv-virt"))
    arm = lines.index(next(line for line in lines if line.startswith("arm-virt")))
    assert "  virtualization=off|on" in lines[arm + 1 :]
    one = cli("run", "debian-arm64", option, "arm-virt,gic=3,help").out.splitlines()
    assert one[0].split() == lines[arm].split()
    assert one[1:] == lines[arm + 1 : arm + len(one)]
    assert cli("run", option, "arm,help").out == listed.out


def test_disks_come_in_their_order_before_the_start(cli: Cli, notes: Notes) -> None:
    disks = ("a.img", "b.img,readonly,serial=B", "c,format=qcow2,snapshot")
    words = [word for disk in disks for word in ("--disk", disk)]
    cli("run", "--kernel", "k", *words, "--backing-folder", "/base")
    may = "'bus': 'virtio', 'queues': 1, 'iops': 0, 'bps': '0', 'removable': False, "
    may += "'socket': '', 'backing_folders': ('/base',)}"
    assert notes.calls == [
        "disk a.img {'format': None, 'readonly': False, 'snapshot': False, 'serial': '', " + may,
        "disk b.img {'format': None, 'readonly': True, 'snapshot': False, 'serial': 'B', " + may,
        "disk c {'format': 'qcow2', 'readonly': False, 'snapshot': True, 'serial': '', " + may,
        "nic user",
        "start",
        "wait",
        "close",
    ]


def test_nics_come_in_their_order_by_either_name(cli: Cli, notes: Notes) -> None:
    words = ("--net", "stream,connect=:1,mac=52:54:00:00:00:01", "--nic", "none")
    cli("run", "--kernel", "k", *words)
    assert notes.calls[:2] == ["nic stream,connect=:1,mac=52:54:00:00:00:01", "nic none"]


@pytest.mark.parametrize(("disks", "has_one"), [(0, True), (5, True), (6, False)])
def test_a_nic_that_nobody_asked_for_takes_no_slot_from_a_disk(
    cli: Cli, notes: Notes, disks: int, has_one: bool
) -> None:
    cli("run", "--kernel", "k", *(["--disk", "x"] * disks))
    assert ("nic user" in notes.calls) == has_one


@pytest.mark.parametrize(
    ("words", "has_one"),
    [
        (["--bios", "b"], False),
        (["--flash", "f"], False),
        (["--bios", "b", "--kernel", "k"], True),
        (["--bios", "b", "--disk", "d"], True),
        (["--bios", "none", "--kernel", "k"], True),
        (["--bios", "b", "--net", "user"], True),
    ],
)
def test_firmware_without_a_disk_is_not_led_to_the_network(
    cli: Cli, notes: Notes, words: list[str], has_one: bool
) -> None:
    cli("run", *words)
    assert ("nic user" in notes.calls) == has_one


def test_one_line_before_the_guest_speaks(cli: Cli, notes: Notes) -> None:
    told = cli("run", "debian-riscv64", "--cpus", "2")
    assert told.err == (
        "bimetal: debian-riscv64 on riscv-virt, 2 CPUs, 512 MiB, accelerator interp\n"
    )
    assert told.out == ""


def test_the_accelerator_is_named_that_was_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with Machine("riscv-virt", memory="16M") as machine:
        run.show_banner("nothing", machine, "none")
    assert capsys.readouterr().err.endswith(" 16 MiB, accelerator jit\n")


def test_keys_are_offered_where_they_do_something(
    cli: Cli, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = "; Ctrl-A x ends it, Ctrl-A h helps\n"
    assert offer not in cli("run", "debian-riscv64").err, "input is no terminal"
    monkeypatch.setattr("os.isatty", lambda fd: fd < 2)
    assert cli("run", "debian-riscv64").err.endswith(offer)
    assert "Ctrl-A" not in cli("run", "debian-riscv64", "--serial", "pty").err


def test_where_the_console_is_reached_is_told_before_the_start(cli: Cli, notes: Notes) -> None:
    notes.where = "tcp:127.0.0.1:4321"
    told = cli("run", "--kernel", "k", "--serial", "tcp:127.0.0.1:0")
    assert told.err.splitlines()[1] == "bimetal: the console is at tcp:127.0.0.1:4321"
    notes.where = ""
    assert len(cli("run", "--kernel", "k").err.splitlines()) == 1


def test_the_exit_code_is_the_guests(cli: Cli, notes: Notes) -> None:
    notes.result = Result(Ending.POWER_OFF, 7)
    assert cli("run", "--kernel", "k").code == 7


def test_a_cpu_that_cannot_go_on_is_told(cli: Cli, notes: Notes) -> None:
    notes.result = Result(Ending.FAULT, ExitCode.INTERNAL, "CPU 0: triple fault", "pc 0x0")
    told = cli("run", "--kernel", "k")
    assert told.code == ExitCode.INTERNAL
    assert told.err.endswith("bimetal: CPU fault, code 70: CPU 0: triple fault\npc 0x0\n")


def test_statistics_come_at_the_end(cli: Cli, notes: Notes) -> None:
    assert cli("run", "--kernel", "k", "--stats").err.endswith("42 exits\n")


def test_a_profile_comes_at_the_end(cli: Cli, notes: Notes, tmp_path: Path) -> None:
    symbols = ["--symbols", "vmlinux", "--symbols", "kallsyms"]
    told = cli("run", "--kernel", "k", "--profile", "-", *symbols).err.splitlines()
    assert notes.calls == ["nic user", "profile ['vmlinux', 'kallsyms']", "start", "wait", "close"]
    assert told[1] == "# 100 samples of the guest, 7 lost"
    assert told[-1].split() == ["60.00%", "60", "60", "more"]
    whole = tmp_path / "profile.txt"
    assert "samples" not in cli("run", "--kernel", "k", "--profile", str(whole)).err
    rows = whole.read_text().splitlines()
    assert len(rows) == 102
    assert rows[-1].split() == ["1.00%", "1", "user", "translated", "a.elf", "main"]


def test_a_profile_that_cannot_be_written_starts_nothing(
    cli: Cli, notes: Notes, tmp_path: Path
) -> None:
    told = cli("run", "--kernel", "k", "--profile", str(tmp_path / "missing" / "file"))
    assert told.code == ExitCode.USAGE
    assert "cannot be written" in told.err
    assert "accelerator" not in told.err, "nobody waits for an engine first"
    assert "start" not in notes.calls


@pytest.mark.parametrize(("guests", "ours"), [(0, ExitCode.IO_ERROR), (7, 7)])
def test_a_profile_for_which_there_is_no_room_is_told_of(
    cli: Cli, notes: Notes, guests: int, ours: int
) -> None:
    notes.result = Result(Ending.POWER_OFF, guests)
    told = cli("run", "--kernel", "k", "--profile", "/dev/full")
    assert told.err.splitlines()[1:] == [
        "bimetal: the profile /dev/full cannot be written: No space left on device"
    ]
    assert told.code == ours
    assert notes.calls[-1] == "close"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to run"),
        (["--initrd", "i"], "nothing to run"),
        (["zx81"], "no guest 'zx81'"),
        (["--kernel", "k", "--disk", ",readonly"], "path of an image"),
        (["--kernel", "k", "--symbols", "System.map"], "add --profile"),
        (["--kernel", "k", "--trace", "nonsense"], "no trace stage 'nonsense'"),
        (["--kernel", "k", "--board", "riscv-virt", "--arch", "riscv64"], "name the same thing"),
        (["debian-riscv64", "--kernel-format", "raw"], "give a kernel"),
        (["--kernel", "k", "-m", "1G", "--memory", "2G"], "--memory is given twice"),
        (["--kernel", "k", "--append", "a", "--append", "b"], "--append is given twice"),
        (
            ["--kernel", "k", "--smp", "2", "--cpus", "2", "--cpus", "3"],
            "or --smp is given 3 times",
        ),
        (["--kernel", "k", "--background", "--no-background"], "--no-background is given twice"),
        (["debian-riscv64", "--board", "microvm"], "debian-riscv64 is for riscv64, and the board"),
        (["debian-riscv64", "--arch", "x86_64"], "leave the board away, or choose from riscv-virt"),
        (["debian-cloud-amd64", "--board", "riscv-virt"], "is for x86_64"),
        (["debian"], "did you mean debian-riscv64, debian-sid-riscv64 or debian-installer-riscv64"),
        ([__file__], "to boot it: bimetal run --kernel "),
        (["debain", "--cpu", "help"], "no guest 'debain'"),
    ],
)
def test_what_makes_no_sense_starts_nothing(
    cli: Cli, notes: Notes, words: list[str], says: str
) -> None:
    told = cli("run", *words)
    assert told.code == ExitCode.USAGE
    assert says in told.err
    assert "start" not in notes.calls


def test_semihosting_is_asked_for(cli: Cli, notes: Notes) -> None:
    assert cli("run", "--kernel", "program.elf", "--bios", "none", "--semihosting").code == 0
    assert notes.options["semihosting"] is True
