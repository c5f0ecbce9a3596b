"""Programs linked by the plainest of options run, as kernel and as firmware."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bimetal import Machine
from tests.host import programs

HELLO = """\
        .globl  _start
_start: la      t0, text
again:  lbu     t1, 0(t0)
        beqz    t1, done
        li      t2, 0x10000000
        sb      t1, 0(t2)
        addi    t0, t0, 1
        j       again
done:   li      t5, 0x100000
        li      t6, 0x5555
        sw      t6, 0(t5)
        j       done
        .section .rodata
text:   .asciz  "hello from the bare machine"
"""


@programs("riscv64-linux-gnu-gcc")
@pytest.mark.parametrize("role", ["kernel", "bios"])
@pytest.mark.parametrize(
    "options",
    [
        "-static -Wl,-Ttext=0x80000000",
        "-static -Wl,-Ttext=0x80000000,--build-id=none",
        "-static -Wl,-Ttext=0x80000000,-e,0",
        "-static-pie -Wl,-Ttext=0x80000000",
        "-static-pie",
    ],
)
def test_a_program_of_plain_options_runs(tmp_path: Path, options: str, role: str) -> None:
    (tmp_path / "a.S").write_text(HELLO)
    command = ["riscv64-linux-gnu-gcc", "-nostdlib", "-o", "a.elf", "a.S", *options.split()]
    subprocess.run(command, cwd=tmp_path, check=True)
    program = tmp_path / "a.elf"
    files = {"bios": program} if role == "bios" else {"kernel": program, "bios": "none"}
    with Machine(memory="16M", accel="interp", **files) as vm:
        vm.start()
        vm.console.expect("hello from the bare machine", timeout=60)
        assert vm.wait(60).code == 0


BUSY = """\
        .globl  _start
_start: li      s0, 2000000
        call    busy
done:   li      t5, 0x100000
        li      t6, 0x5555
        sw      t6, 0(t5)
        j       done
        .type   busy, @function
busy:   addi    s0, s0, -1
        bnez    s0, busy
        ret
        .size   busy, . - busy
"""


@programs("riscv64-linux-gnu-gcc")
def test_names_of_a_program_that_was_moved(tmp_path: Path) -> None:
    (tmp_path / "a.S").write_text(BUSY)
    command = ["riscv64-linux-gnu-gcc", "-nostdlib", "-static-pie", "-o", "a.elf", "a.S"]
    subprocess.run(command, cwd=tmp_path, check=True)
    program = tmp_path / "a.elf"
    with Machine(memory="16M", accel="interp", kernel=program, bios="none") as vm:
        vm.start_profile()
        vm.start()
        assert vm.wait(60).code == 0
        hottest = vm.profile().rows[0]
    assert (hottest.symbol, hottest.object) == ("busy", "a.elf")
