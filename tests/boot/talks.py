"""What is said to a guest, and heard from it, in several tests."""

from __future__ import annotations

from bimetal import Machine
from tests.boot.conftest import LIMIT, PROMPT, Terminal

__all__ = ["answers_the_installer", "feels_the_power_key", "resets_and_ends"]


def answers_the_installer(vm: Terminal) -> None:
    """Debian's installer asks its first question, and is left."""
    vm.expect("Starting system log daemon")
    vm.expect("Select a language")
    vm.expect("Prompt:")
    vm.send("?\r")
    vm.expect("KEYSTROKES")
    vm.send("\x01x")
    assert vm.end() == 0


def resets_and_ends(vm: Terminal, *greetings: str) -> None:
    """Linux on two CPUs comes to its prompt behind all ``greetings``, twice: it resets the machine,
    and then switches it off."""
    for way in ("reboot -f\r", "exit\r"):
        for greeting in greetings:
            vm.expect(greeting)
        vm.expect(PROMPT)
        assert vm.do("nproc") == "2"
        vm.send(way)
    assert vm.end() == 0


def feels_the_power_key(vm: Machine, drivers: str, shown: str) -> None:
    """A program in Linux hears of the power key as of any key: once the shell commands ``drivers``
    have ``shown`` the device."""
    vm.start()
    vm.console.expect(PROMPT, timeout=LIMIT)
    vm.console.sendline(drivers)
    vm.console.expect(shown, timeout=LIMIT)
    vm.console.expect(PROMPT, timeout=LIMIT)
    vm.console.sendline("exec 3</dev/input/event0; echo rea''dy")
    vm.console.expect("ready", timeout=LIMIT)
    vm.console.sendline("dd bs=24 count=1 <&3 | hexdump -C")
    vm.press_power_button()
    # An event of kind 1, a key, and of key 0x74: 116, "power".
    vm.console.expect("00000010  01 00 74 00 01", timeout=LIMIT)
    vm.console.sendline("poweroff -f")
    assert vm.wait(timeout=LIMIT).code == 0
