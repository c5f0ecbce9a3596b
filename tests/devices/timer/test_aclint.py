"""Machine timers and software interrupts, on a clock that jumps."""

from functools import partial

from bimetal.base.clock import VirtualClock
from bimetal.devices.timer.aclint import NEVER, Aclint

MTIMECMP, MTIME = 0x4000, 0xBFF8


class Board:
    """Two harts and what their lines show."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.clint = Aclint(self.clock, harts=2)
        self.lines: dict[str, bool] = {}
        for hart in range(2):
            self.clint.msip[hart].connect(partial(self.hear, f"msip{hart}"))
            self.clint.mtip[hart].connect(partial(self.hear, f"mtip{hart}"))

    def hear(self, name: str, level: bool) -> None:
        self.lines[name] = level


def test_software_interrupts() -> None:
    board = Board()
    board.clint.write(4, 4, 0xFFFF_FFFF)
    assert board.lines == {"msip1": True}
    assert board.clint.read(4, 4) == 1
    board.clint.write(4, 4, 0)
    assert board.lines == {"msip1": False}


def test_mtime_counts_ticks_of_100_ns() -> None:
    board = Board()
    board.clock.advance(0x1_2345_6789 * 100 + 99)
    assert board.clint.read(MTIME, 8) == 0x1_2345_6789
    assert board.clint.read(MTIME, 4) == 0x2345_6789
    assert board.clint.read(MTIME + 4, 4) == 1


def test_a_timer_fires_at_its_tick_and_is_quiet_once_moved() -> None:
    board = Board()
    board.clint.write(MTIMECMP + 8, 8, 50)
    board.clock.advance(4999)
    assert board.lines == {}
    board.clock.advance(1)
    assert board.lines == {"mtip1": True}
    board.clint.write(MTIMECMP + 8, 8, 60)
    assert board.lines == {"mtip1": False}
    board.clock.advance(1000)
    assert board.lines == {"mtip1": True}


def test_a_compare_value_in_the_past_fires_at_once() -> None:
    board = Board()
    board.clock.advance(10_000)
    board.clint.write(MTIMECMP, 8, 3)
    assert board.lines == {"mtip0": True}
    board.clint.write(MTIMECMP, 8, NEVER)
    assert board.lines == {"mtip0": False}
    assert board.clock.next_deadline() is None


def test_firmware_writes_halves_without_a_false_interrupt() -> None:
    board = Board()
    board.clock.advance(10_000)
    board.clint.write(MTIMECMP, 4, 0xFFFF_FFFF)
    board.clint.write(MTIMECMP + 4, 4, 0)
    board.clint.write(MTIMECMP, 4, 200)
    assert board.lines == {}
    assert board.clint.read(MTIMECMP, 8) == 200
    board.clock.advance(10_000)
    assert board.lines == {"mtip0": True}


def test_mtime_cannot_be_set_and_says_so() -> None:
    board = Board()
    board.clint.write(MTIME, 8, 0)
    assert board.clint.events.counts == {"not implemented: setting MTIME": 1}


def test_a_third_hart_is_not_there() -> None:
    board = Board()
    board.clint.write(8, 4, 1)
    board.clint.write(MTIMECMP + 16, 8, 1)
    assert board.lines == {}
    assert sum(board.clint.events.counts.values()) == 2


def test_reset_and_snapshot() -> None:
    board, other = Board(), Board()
    board.clint.write(0, 4, 1)
    board.clint.write(MTIMECMP + 8, 8, 50)
    other.clint.load(board.clint.save())
    assert other.lines == {"msip0": True}
    other.clock.advance(5000)
    assert other.lines == {"msip0": True, "mtip1": True}
    other.clint.reset()
    assert other.lines == {"msip0": False, "mtip1": False}
