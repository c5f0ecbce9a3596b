"""What is said of boards, for who only names them, and what they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bimetal.boards import GIC_VERSIONS
from bimetal.boards.arm_gic import FRAME, REDISTRIBUTORS_SIZE
from bimetal.devices.irq.gic.v2_distributor import MOST_CPUS
from bimetal.machine.board import all_boards


def test_as_many_cpus_as_a_gic_has_room_for() -> None:
    assert GIC_VERSIONS == {"2": MOST_CPUS, "3": REDISTRIBUTORS_SIZE // (2 * FRAME)}


@pytest.mark.parametrize("name", ["arm-virt", "microvm", "riscv-virt"])
def test_a_board_is_where_it_is_said_to_be(name: str) -> None:
    board = all_boards()[name]
    assert callable(board.build)
    assert board.summary


def test_who_names_a_board_imports_none() -> None:
    code = """
import sys
from bimetal.control.known_boards import board_named, boards, check_cpus
check_cpus("arm-virt,gic=3", 123)
print(board_named("riscv-virt").isa, len(boards()))
print([name for name in sys.modules if "bimetal.devices" in name or "virt" in name])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "riscv64 3\n[]\n"
