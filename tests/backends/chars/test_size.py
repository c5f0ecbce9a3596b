"""The size of the terminal, and who hears of another one."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator

import pytest

from bimetal.backends.chars.ring import Ring
from bimetal.backends.chars.stdio import Stdio
from bimetal.backends.reactor import Reactor
from bimetal.boards.virtio.consoles import console as virtio_console
from bimetal.machine.console import Console
from bimetal.machine.gate import VcpuGate


class Window:
    """A terminal that can be resized, with our console in it."""

    def __init__(self, columns: int, rows: int):
        self.fds = os.openpty()
        self.resize(columns, rows)
        self.reactor = Reactor()
        self.line = Stdio(read_fd=self.fds[1], write_fd=self.fds[1])

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self.fds[1], (rows, columns))

    def close(self) -> None:
        self.line.close()
        self.reactor.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def window() -> Iterator[Window]:
    before = signal.getsignal(signal.SIGWINCH)
    window = Window(80, 25)
    yield window
    window.close()
    assert signal.getsignal(signal.SIGWINCH) is before


def test_a_new_size_is_told_once(window: Window) -> None:
    told: list[tuple[int, int]] = []
    window.line.follow_size(lambda columns, rows: told.append((columns, rows)))
    window.line.attach(window.reactor)
    window.reactor.turn()
    assert told == []
    window.resize(132, 43)
    for _ in range(2):
        signal.raise_signal(signal.SIGWINCH)
        window.reactor.turn(1)
    assert told == [(132, 43)]


def test_a_size_that_changed_before_the_start_is_told(window: Window) -> None:
    told: list[tuple[int, int]] = []
    window.line.follow_size(lambda columns, rows: told.append((columns, rows)))
    window.resize(100, 30)
    window.line.attach(window.reactor)
    window.reactor.turn()
    assert told == [(100, 30)]


def test_a_handler_from_before_hears_of_the_signal(window: Window) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGWINCH, lambda number, _: heard.append(number))
    window.line.follow_size(lambda *_: None)
    window.line.attach(window.reactor)
    signal.raise_signal(signal.SIGWINCH)
    assert heard == [signal.SIGWINCH]
    window.line.close()
    signal.signal(signal.SIGWINCH, before)


def test_a_virtio_console_has_the_size_of_the_terminal(window: Window) -> None:
    gate = VcpuGate()
    serial, hvc = Console(window.line, gate), Console(Ring(), gate)
    assert not hvc.show_size_to(hvc.line), "no terminal"
    assert virtio_console(hvc.line).offered & 1 == 0
    assert serial.show_size_to(hvc.line)
    device = virtio_console(hvc.line)
    assert device.offered & 1, "VIRTIO_CONSOLE_F_SIZE"
    assert device.config[:4] == bytes([80, 0, 25, 0])
    serial.attach(window.reactor)
    window.resize(132, 43)
    signal.raise_signal(signal.SIGWINCH)
    window.reactor.turn(1)
    assert device.config[:4] == bytes([132, 0, 43, 0])
