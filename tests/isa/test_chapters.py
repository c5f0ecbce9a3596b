"""When the descriptions of instructions are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.isa.names import INSTRUCTION_SETS

LOOK = """
import sys
from importlib import import_module

architecture = import_module({module!r}).architecture
package = architecture.isa.chapters[0] + "."
before = [name for name in sys.modules if name.startswith(package)]
registers, hooks = architecture.isa.register_names(), dict(architecture.isa.hooks)
found = architecture.isa.insns
after = [name for name in sys.modules if name.startswith(package)]
print(len(before), len(after), len(found), architecture.isa.register_names() == registers)
"""


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_chapters_are_imported_when_instructions_are_asked_for(isa: str) -> None:
    look = LOOK.format(module=INSTRUCTION_SETS[isa])
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    before, after, found, same = told.stdout.split()
    assert int(before) == 0 < int(after) <= int(found)
    assert same == "True"  # registers do not wait for them


RUN = """
import sys
from bimetal import Machine

with Machine({board!r}, kernel={kernel!r}, kernel_format="raw", bios={bios!r}, accel="jit") as vm:
    vm.start()
    vm.wait(60)
print(sum(".insns." in name for name in sys.modules))
"""


def test_a_machine_whose_engine_is_in_the_store_imports_none(tmp_path: Path) -> None:
    kernel = tmp_path / "end.bin"
    # lui a0, 0x100; lui a1, 0x5; addi a1, a1, 0x555; sw a1, 0(a0): the test finisher's register
    words = (0x0010_0537, 0x0000_55B7, 0x5555_8593, 0x00B5_2023, 0x0000_006F)
    kernel.write_bytes(b"".join(word.to_bytes(4, "little") for word in words))
    run = RUN.format(board="riscv-virt", kernel=str(kernel), bios="none")
    for _ in range(2):
        told = subprocess.run(
            [sys.executable, "-c", run], capture_output=True, text=True, check=True
        )
    assert told.stdout == "0\n"
