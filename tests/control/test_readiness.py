"""Machines outlive the package that started them: it may be upgraded, or removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bimetal
from bimetal.control import readiness
from bimetal.control.readiness import Readiness
from bimetal.images import create
from tests.boot.bare import write_program

LIMIT = 40.0

WITHOUT_ITS_PACKAGE = """
import shutil
import sys
from pathlib import Path
import bimetal
from bimetal import Machine
from bimetal.control.readiness import Readiness

package, program, saved = map(Path, sys.argv[1:4])
assert Path(bimetal.__file__).is_relative_to(package)
with Machine(memory="16M", bios=program, accel="jit") as machine:
    if "disk" in sys.argv:
        machine.disk(saved.with_name("disk"), format="qcow2")
    machine.start()
    with Readiness(after=0, between=0) as readiness:
        readiness.wait()
    shutil.rmtree(package)
    machine.savevm("kept") if "disk" in sys.argv else machine.checkpoint()
    machine.save(saved)
    machine.stats()
    machine.explain(0.1)
"""

AN_EMULATOR = """
import sys
from bimetal.control.emulator import machine
from bimetal.control.emulator.program import main
from bimetal.control.readiness import LATER, Readiness

def ready():
    begun = Readiness(after=0, between=0)
    begun.wait()
    print(sorted({*LATER} - sys.modules.keys()), flush=True)
    return begun

machine.Readiness = ready
main("qemu-system-riscv64", ["-machine", "virt", "-display", "none", "-bios", sys.argv[1]])
"""


@pytest.mark.parametrize("with_", ["disk", "nothing"])
def test_a_machine_is_saved_though_its_package_is_gone(tmp_path: Path, with_: str) -> None:
    program = write_program(tmp_path / "program.elf", "addi a0, a0, 1", "jal zero, 0x80000000")
    package = tmp_path / "package"
    source = Path(bimetal.__file__).parent
    shutil.copytree(source, package / "bimetal", ignore=shutil.ignore_patterns("web"))
    saved = tmp_path / "saved"
    create(str(tmp_path / "disk"), "1M", format="qcow2")
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_ITS_PACKAGE, package, program, saved, with_],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    with bimetal.Machine.restore(saved, accel="interp") as machine:
        assert machine.cpus[0].pc in (0x8000_0000, 0x8000_0004)


def test_an_emulator_has_that_code_too(tmp_path: Path) -> None:
    """Those of libvirt run for as long as others."""
    program = write_program(tmp_path / "program.elf", "jal zero, 0x80000000")
    command = ["timeout", f"{LIMIT:.0f}", sys.executable, "-c", AN_EMULATOR, str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        missing = emulator.stdout.readline()
        emulator.terminate()
    assert missing == "[]\n"


def test_what_is_not_there_just_now_is_told_and_the_rest_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "there_by_now.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(readiness, "LATER", ("not_there_just_now", "there_by_now"))
    with Readiness(after=0, between=0) as ready:
        ready.wait()
    assert "not_there_just_now cannot be imported" in caplog.text
    assert "there_by_now" in sys.modules
