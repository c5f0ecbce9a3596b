"""Stock Debian kernels, from power on to power off."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal, run_piped

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]


SELDOM = pytest.mark.slow
"""One boot tells most; these are run before a release."""


@pytest.mark.parametrize(
    "name", ["debian-riscv64", pytest.param("debian-sid-riscv64", marks=SELDOM)]
)
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
    assert vm.do("dmesg | grep -e Oops -e BUG -e 'rcu.*stall'", status=1) == ""
    vm.send("exit\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


def test_commands_on_the_kernels_command_line(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", 'quiet bmrun="nproc; false"', "--memory", "256M")
    vm.expect("BIMETAL-GUEST-UP")
    assert vm.expect("BIMETAL-GUEST-RC=1").split()[-1] == "1"
    assert vm.end() == 1


@pytest.mark.parametrize(
    "order", ['bmrun="true; exit 7"', pytest.param('-- sh -c "exit 7"', marks=SELDOM)]
)
def test_the_exit_code_of_a_command_is_that_of_the_run(
    terminal: Start, fetched: Fetch, order: str
) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", f"quiet {order}")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 7


def test_the_exit_code_of_the_shell_is_that_of_the_run(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", "quiet")
    vm.expect(PROMPT)
    vm.send("exit 7\r")
    assert vm.end() == 7


@pytest.mark.parametrize(
    ("typed", "shown", "code"),
    [
        pytest.param("uname -a\n", "Linux (none)", 0, marks=SELDOM),
        pytest.param("echo $((6 * 7))", "42", 0, marks=SELDOM),
        pytest.param("cat\nonly once\n", "only once", 0, marks=SELDOM),
        ("echo one\ttwo; exit 7\n", "one two", 7),
        ("".join(f"echo line $(({n}))\n" for n in range(700)), "line 699", 0),
        pytest.param("", "BIMETAL-GUEST-DONE", 0, marks=SELDOM),
    ],
)
def test_input_that_is_piped_in_is_done_and_its_end_is_the_end(
    fetched: Fetch, typed: str, shown: str, code: int
) -> None:
    fetched("debian-riscv64")
    done = run_piped("debian-riscv64", "--append", "quiet", typed=typed)
    lines = done.stdout.splitlines()
    assert any(re.sub("^(~ # )*", "", line).startswith(shown) for line in lines), done.stdout
    assert "\x1b" not in done.stdout
    assert "uname -a" not in done.stdout, "what is typed is echoed"
    assert done.returncode == code
    if typed.count("\n") > 100:
        said = re.findall(r"^(?:~ # )*line (\d+)$", done.stdout, re.MULTILINE)
        assert said == [str(number) for number in range(700)]


def test_the_size_of_the_terminal_is_known_and_followed(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", "quiet")
    vm.expect(PROMPT)
    assert vm.do("stty size") == "40 200"
    for columns, rows in ((132, 43), (100, 30), (80, 25)):
        vm.resize(columns, rows)
        vm.do(f"until [ '{rows} {columns}' = \"$(stty size)\" ]; do :; done")
    vm.send("exit\r")
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


@SELDOM
def test_a_guest_that_resets_ends_if_asked_to(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--no-reboot", "--append", "quiet bmrun=true bmend=reboot")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 0


@SELDOM
def test_a_guest_that_resets_after_a_failure_ends_with_its_code(
    terminal: Start, fetched: Fetch
) -> None:
    fetched("debian-riscv64")
    order = 'bmrun="exit 7" bmend=reboot'
    vm = terminal("debian-riscv64", "--no-reboot", "--append", f"quiet {order}")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 7


def test_a_guest_that_resets_boots_again(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", "quiet bmrun=true bmend=reboot")
    vm.expect("BIMETAL-GUEST-UP")
    vm.expect("BIMETAL-GUEST-DONE")
    vm.expect("BIMETAL-GUEST-UP")
    vm.send("\x01x")
    assert vm.end() == 0


@pytest.mark.parametrize(
    ("command", "last"),
    [pytest.param("poweroff", "Power down", marks=SELDOM), ("reboot", "Restarting system")],
)
def test_the_shell_switches_off_and_resets_as_on_any_system(
    terminal: Start, fetched: Fetch, command: str, last: str
) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--no-reboot")
    vm.expect(PROMPT)
    vm.send(f"{command}\r")
    vm.expect(last)
    assert vm.end() == 0


def test_a_guest_that_halts_waits_to_be_ended(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64")
    vm.expect(PROMPT)
    vm.send("halt\r")
    vm.expect("System halted")
    vm.send("\x01x")
    assert vm.end() == 0


@SELDOM
def test_a_shell_that_is_killed_ends_the_run(terminal: Start, fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", "quiet")
    vm.expect(PROMPT)
    vm.send("kill -9 -1\r")
    vm.expect("BIMETAL-GUEST-DONE")
    assert vm.end() == 137


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
