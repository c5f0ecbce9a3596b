"""A snapshot that the commit before this one has made goes on with this one, or is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal import BimetalError, ExitCode, Machine
from tests.boot.counting import expected, riscv_program
from tests.host import need

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 300
SAVE = """
import sys
from bimetal import Machine
program, snapshot = sys.argv[1:]
with Machine(kernel=program, bios="none", accel="interp", memory="8M", background=False) as vm:
    vm.start()
    vm.console.expect("a", 300)
    vm.save(snapshot, stop=True)
    print(vm.console.log)
"""


@pytest.mark.slow
def test_a_file_of_the_commit_before(tmp_path: Path) -> None:
    need("git", "tar")
    before, snapshot = tmp_path / "before", tmp_path / "snapshot"
    before.mkdir()
    archive = ["git", "-C", str(ROOT), "archive", "HEAD~1", "src"]
    with subprocess.Popen(archive, stdout=subprocess.PIPE) as git:
        subprocess.run(["tar", "-x", "-C", before], stdin=git.stdout, check=True)
    if git.returncode or not (before / "src/bimetal/snapshot").exists():
        pytest.skip("there is no commit before this one that saves machines")
    program = riscv_program(tmp_path / "program")
    command = [sys.executable, "-c", SAVE, str(program), str(snapshot)]
    environment = {**os.environ, "PYTHONPATH": str(before / "src")}
    saved = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
        timeout=LIMIT,
    )  # fmt: skip
    printed = saved.stdout.strip()
    vm = restored_unless_refused(snapshot)
    if vm is None:
        return
    with vm:
        vm.start()
        vm.console.expect(re.compile("[a-p]{40}"), LIMIT)
        vm.pause()
        printed += vm.console.log
    assert printed == expected(len(printed))


def restored_unless_refused(snapshot: Path) -> Machine | None:
    """The machine in a snapshot; None if that is said to be of another version."""
    try:
        return Machine.restore(snapshot, accel="jit", background=False)
    except BimetalError as error:
        if error.exit_code != ExitCode.DATA or "version" not in error.cause:
            raise
        return None
