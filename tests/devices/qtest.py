"""QEMU's own models of devices, driven register by register through its test protocol."""

from __future__ import annotations

import subprocess
import threading

from tests.host import need, program_path

__all__ = ["Qtest"]

SECONDS = 120
"""After which a conversation is taken for stuck."""


class Qtest:
    """The devices of QEMU's board ``machine``, whose CPUs stand still.

    ``levels`` are those of the inputs that are watched, by number.
    """

    def __init__(self, binary: str, machine: str, *options: str):
        need(binary)
        command = [
            program_path(binary),
            "-machine",
            machine,
            "-S",
            "-qtest",
            "stdio",
            "-display",
            "none",
        ]
        self._process = subprocess.Popen(
            [*command, "-nodefaults", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._killer = threading.Timer(SECONDS, self._process.kill)
        self._killer.start()
        self.levels: dict[int, bool] = {}

    def command(self, text: str) -> str:
        """Send a command; what is answered behind OK."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        while words := self._process.stdout.readline().split():
            if words[0] == "IRQ":
                self.levels[int(words[2])] = words[1] == "raise"
            else:
                assert words[0] == "OK", f"{text}: {words}"
                return words[1] if len(words) > 1 else ""
        raise AssertionError(f"QEMU ended at {text!r}")

    def read(self, address: int, size: int = 4) -> int:
        """What the devices answer to a read."""
        return int(self.command(f"read{'_bw_l___q'[size]} {address:#x}"), 0)

    def write(self, address: int, value: int, size: int = 4) -> None:
        """Write to a device."""
        self.command(f"write{'_bw_l___q'[size]} {address:#x} {value:#x}")

    def read_port(self, port: int) -> int:
        """What the devices answer to a read of a byte at an I/O port of x86."""
        return int(self.command(f"inb {port:#x}"), 0)

    def write_port(self, port: int, value: int) -> None:
        """Write a byte to an I/O port."""
        self.command(f"outb {port:#x} {value:#x}")

    def watch(self, path: str) -> None:
        """Watch the inputs of the device at ``path``, in place of that device."""
        self.command(f"irq_intercept_in {path}")

    def drive(self, path: str, number: int, level: bool) -> None:
        """Drive an input of the device at ``path``."""
        self.command(f"set_irq_in {path} unnamed-gpio-in {number} {int(level)}")

    def close(self) -> None:
        """End it."""
        self._killer.cancel()
        self._process.kill()
        self._process.communicate()
