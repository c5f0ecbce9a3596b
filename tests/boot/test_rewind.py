"""Machines that go back to a checkpoint, or to a state in a file, and on from there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import BimetalError, Machine
from tests.boot.counting import arm_program, expected, riscv_program

LIMIT = 120
LETTERS = re.compile("[A-Pa-p]{30}")


@pytest.mark.parametrize(
    ("board", "program", "accel", "cpus"),
    [
        ("riscv-virt", riscv_program, "jit", 2),
        ("riscv-virt", riscv_program, "interp", 1),
        ("arm-virt", arm_program, "jit", 1),
    ],
)
@pytest.mark.parametrize("in_file", [False, True], ids=["checkpoint", "file"])
def test_a_machine_goes_back_and_on(
    board: str,
    program: Callable[[Path], Path],
    accel: str,
    cpus: int,
    in_file: bool,
    tmp_path: Path,
) -> None:
    def keep() -> None:
        vm.save(tmp_path / "snapshot") if in_file else vm.checkpoint()

    def go_back() -> None:
        vm.load(tmp_path / "snapshot") if in_file else vm.rewind()

    kernel = program(tmp_path / "program")
    options = {"bios": "none", "memory": "8M", "background": False}
    with Machine(board, kernel=kernel, accel=accel, cpus=cpus, **options) as vm:  # type: ignore[arg-type]
        with pytest.raises(BimetalError, match="was not started"):
            vm.checkpoint()
        vm.start()
        with pytest.raises(BimetalError, match="has no checkpoint"):
            vm.rewind()
        vm.console.expect(LETTERS, LIMIT)
        vm.pause()
        keep()
        before = vm.console.log
        for _ in range(3):
            from_here = len(vm.console.log)
            vm.resume()
            vm.console.expect(LETTERS, LIMIT)
            vm.pause()
            went_on = before + vm.console.log[from_here:]
            small = "".join(filter(str.islower, went_on))
            capital = "".join(filter(str.isupper, went_on))
            assert small == expected(len(small))
            assert capital == expected(len(capital), "A")
            assert len(small) > 30 // cpus
            go_back()
        vm.resume()
        go_back()  # it need not be paused
        vm.console.expect(LETTERS, LIMIT)
        vm.stop()
        with pytest.raises(BimetalError, match=r"cannot go back|no state can be loaded"):
            go_back()
