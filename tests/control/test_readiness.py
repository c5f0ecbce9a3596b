"""Machines outlive the package that started them: it may be upgraded, or removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bimetal
from tests.boot.bare import write_program

LIMIT = 120.0

WITHOUT_ITS_PACKAGE = """
import shutil
import sys
from pathlib import Path
import bimetal
from bimetal import Machine
from bimetal.control.readiness import Readiness

package, program, saved = map(Path, sys.argv[1:])
assert Path(bimetal.__file__).is_relative_to(package)
with Machine(memory="16M", bios=program, accel="interp") as machine:
    machine.start()
    with Readiness(after=0, between=0) as readiness:
        readiness.wait()
    shutil.rmtree(package)
    machine.checkpoint()
    machine.save(saved)
    machine.stats()
"""


def test_a_machine_is_saved_though_its_package_is_gone(tmp_path: Path) -> None:
    program = write_program(tmp_path / "program.elf", "addi a0, a0, 1", "jal zero, 0x80000000")
    package = tmp_path / "package"
    source = Path(bimetal.__file__).parent
    shutil.copytree(source, package / "bimetal", ignore=shutil.ignore_patterns("web"))
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_ITS_PACKAGE, package, program, tmp_path / "saved"],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    with bimetal.Machine.restore(tmp_path / "saved", accel="interp") as machine:
        assert machine.cpus[0].pc in (0x8000_0000, 0x8000_0004)
