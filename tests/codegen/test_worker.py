"""The translator's process: jobs and answers, and its end."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bimetal.base import trace
from bimetal.codegen import identity
from bimetal.codegen import worker as worker_module
from bimetal.codegen.children import reap
from bimetal.codegen.frames import pack
from bimetal.codegen.image import code_in
from bimetal.codegen.job import Compiled, Job
from bimetal.codegen.layout import PAGE
from bimetal.codegen.worker import OtherEngine, Worker, WorkerLost
from bimetal.isa.riscv import rv64
from tests.codegen.hart import jit
from tests.codegen.programs import random_program

ALL = bytes([1]) * (PAGE // rv64.granule)
LIMIT = 60.0


def answer_of(worker: Worker) -> Compiled:
    """Wait for the next answer."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        answer = worker.answer()
        if answer is not None:
            return answer
    raise AssertionError("the translator does not answer")


@pytest.fixture
def worker() -> Worker:
    return Worker(rv64, shared=False)


def test_answers_come_in_the_order_of_the_jobs(worker: Worker) -> None:
    code = random_program(5).ljust(PAGE, b"\0")
    assert worker.submit(Job(code, (0,), ALL, 1, "first"))
    assert worker.submit(Job(code, (8,), ALL, 1, "second"))
    first, second = answer_of(worker), answer_of(worker)
    assert first.entries[0] == 0
    assert second.entries[0] == 8
    assert code_in(first.content)
    assert len(first.steps) > 10
    worker.close()


def test_nothing_comes_of_code_that_means_nothing(worker: Worker) -> None:
    assert worker.submit(Job(bytes(PAGE), (0,), ALL, 1, "nothing"))
    assert answer_of(worker).content == b""
    worker.close()


def test_a_call_at_the_end_of_a_page(worker: Worker) -> None:
    at = PAGE - 4
    code = bytes(at) + rv64.assemble(f"jal ra, {at - 8:#x}", at)
    assert worker.submit(Job(code, (at,), ALL, 1, "call"))
    answer = answer_of(worker)
    assert answer.entries == (at,)
    assert answer.steps == (at,)
    worker.close()


def test_a_job_that_goes_wrong_does_not_end_the_translator(
    capfd: pytest.CaptureFixture[str],
) -> None:
    worker = Worker(rv64, shared=False)
    code = random_program(5).ljust(PAGE, b"\0")
    assert worker.submit(Job(code, (0,), b"", 1, "too few bytes of what was executed"))
    assert worker.submit(Job(code, (0,), ALL, 1, "right"))
    assert answer_of(worker).content == b""
    assert answer_of(worker).content
    worker.close()
    assert "left out: IndexError" in capfd.readouterr().err


def test_answers_that_come_together_are_all_seen(worker: Worker) -> None:
    for number in range(30):
        assert worker.submit(Job(bytes(PAGE), (0,), ALL, 1, f"nothing {number}"))
    assert [worker.answer(60) is not None for _ in range(30)] == [True] * 30
    worker.close()


def test_a_translator_that_is_gone_takes_no_jobs(worker: Worker) -> None:
    worker.close()
    assert not worker.submit(Job(bytes(PAGE), (0,), ALL, 1, "late"))
    assert worker.answer() is None


def test_without_a_translator_guests_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(isa: object, shared: bool) -> Worker:
        raise OSError("no more processes")

    monkeypatch.setattr("bimetal.codegen.worker.Worker", refuse)
    with jit() as (hart, cpu):
        hart.begin(random_program(3))
        hart.finish()
        assert cpu.instructions > 1000


def test_the_ladder_of_visibility(capfd: pytest.CaptureFixture[str]) -> None:
    trace.configure("decode,ir,llvm,asm")
    try:
        worker = Worker(rv64, shared=False)
    finally:
        trace.configure("")
    code = rv64.assemble("add a0, a0, a1") + rv64.assemble("jal zero, 0", 4)
    assert worker.submit(Job(code.ljust(PAGE, b"\0"), (0,), ALL, 1, "shown"))
    assert answer_of(worker).content
    worker.close()
    shown = capfd.readouterr().err
    assert "add a0, a0, a1" in shown
    assert "%1:64 = x[0xa]" in shown
    assert "define preserve_nonecc void @shown" in shown
    assert "shown:" in shown


def stand_in(monkeypatch: pytest.MonkeyPatch, script: str) -> Worker:
    """A translator that does as ``script`` says; ``out`` is where answers go."""

    def arguments(module: str, isa: object, shared: bool, answers: str) -> dict[str, object]:
        opening = f"import sys; out = open({answers}, 'wb', 0)"
        return {"args": [sys.executable, "-c", f"{opening}\n{script}"]}

    monkeypatch.setattr(worker_module, "popen_arguments", arguments)
    return Worker(rv64, shared=False)


STAYS = "sys.stdin.buffer.read()"
"""What keeps a stand-in there: jobs may have a line's end anywhere."""

JOB = Job(bytes(PAGE), (0,), ALL, 1, "nothing")
PACKED = pack(Compiled(seconds=1.5).frame())


def test_a_translator_that_is_slow_to_die_is_reaped_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy host a process that was killed may wait for its turn to end."""

    def late(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        raise subprocess.TimeoutExpired(process.args, timeout or 0)

    worker = Worker(rv64, shared=False)
    pid = worker.pid
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "wait", late)
        worker.close()
    del worker
    gc.collect()  # nobody is warned of a process that still runs
    end = time.monotonic() + LIMIT
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        reap()
        time.sleep(0.01)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_translator_that_was_killed_is_lost(worker: Worker) -> None:
    assert worker.submit(JOB)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="ended with code -9"):
        answer_of(worker)
    assert not worker.submit(JOB)
    worker.close()


def test_a_translator_with_another_engine_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "engine_digest", lambda isa, shared: b"of yesterday")
    worker = Worker(rv64, shared=False)
    worker.submit(JOB)
    with pytest.raises(OtherEngine, match="Bimetal has changed since"):
        answer_of(worker)
    worker.close()


CHANGED = """
import sys
from pathlib import Path
from bimetal.base.errors import BimetalError
from bimetal.codegen import identity, layout
from bimetal.codegen.job import Job
from bimetal.codegen.worker import OtherEngine, Worker
from bimetal.isa.arm.state import a64
from bimetal.isa.riscv import rv64

assert identity.is_engine(rv64, False, identity.engine_digest(rv64, False).hex())
with Path(layout.__file__).open("a") as file:
    file.write("# changed\\n")
worker = Worker(rv64, False)
worker.submit(Job(bytes(4096), (0,), bytes([1]) * 2048, 1, "nothing"))
try:
    worker.answer(None)
except OtherEngine as error:
    print(error)
worker.close()
try:
    identity.engine_digest(a64, False)
except BimetalError as error:
    print(error)
"""


def test_sources_that_change_while_they_are_used_are_noticed(tmp_path: Path) -> None:
    shutil.copytree(identity.PACKAGE, tmp_path / "bimetal", ignore=shutil.ignore_patterns("web"))
    command = [sys.executable, "-P", "-c", CHANGED]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.splitlines() == [
        "Bimetal has changed since this machine was started",
        "Bimetal's files have changed since this program began to use them (start it again)",
    ], done.stderr


@pytest.mark.parametrize("name", ["._i.py", ".#i.py"])
def test_what_editors_and_systems_leave_beside_sources_is_none(tmp_path: Path, name: str) -> None:
    """Emacs notes who edits a file in a link that leads nowhere; macOS has ._ files in archives."""
    package = tmp_path / "bimetal"
    shutil.copytree(identity.PACKAGE, package, ignore=shutil.ignore_patterns("web"))
    (package / "isa" / name).symlink_to("somebody@somewhere.4711")
    code = "from bimetal.codegen import identity, translator; print(identity.OTHER_ENGINE)"
    command = [sys.executable, "-P", "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout == "3\n", done.stderr


REMOVED = """
import shutil
from bimetal.base.errors import BimetalError
from bimetal.codegen import identity
from bimetal.isa.riscv import rv64

shutil.rmtree(identity.PACKAGE)
try:
    identity.engine_digest(rv64, False)
except BimetalError as error:
    print(error)
"""


def test_sources_that_are_removed_while_they_are_used_are_missed(tmp_path: Path) -> None:
    shutil.copytree(identity.PACKAGE, tmp_path / "bimetal", ignore=shutil.ignore_patterns("web"))
    command = [sys.executable, "-P", "-c", REMOVED]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.splitlines() == [
        "Bimetal's files have changed since this program began to use them (start it again)"
    ], done.stderr


LINKED = """
import os
import sys
from bimetal.codegen import identity, layout
from bimetal.isa.riscv import rv64

os.link(layout.__file__, sys.argv[1])
os.chmod(layout.__file__, 0o640)
print(identity.is_engine(rv64, False, identity.engine_digest(rv64, False).hex()))
"""


def test_sources_that_are_linked_to_from_elsewhere_have_not_changed(tmp_path: Path) -> None:
    """As package managers and backups do while programs run."""
    shutil.copytree(identity.PACKAGE, tmp_path / "bimetal", ignore=shutil.ignore_patterns("web"))
    command = [sys.executable, "-P", "-c", LINKED, str(tmp_path / "link")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout == "True\n", done.stderr


def test_what_is_printed_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = stand_in(monkeypatch, f"print('hello', flush=True); out.write({PACKED!r}); {STAYS}")
    assert worker.submit(JOB)
    assert answer_of(worker) == Compiled(seconds=1.5)
    worker.close()


@pytest.mark.parametrize(
    "bad", [b"Segmentation fault\n" * 3, pickle.dumps(7) * 9, PACKED[:-1] + b"!"]
)
def test_an_answer_that_is_none_is_the_end(monkeypatch: pytest.MonkeyPatch, bad: bytes) -> None:
    worker = stand_in(monkeypatch, f"out.write({bad!r}); {STAYS}")
    assert worker.submit(JOB)
    with pytest.raises(WorkerLost, match="message"):
        answer_of(worker)
    worker.close()


def test_half_an_answer_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = stand_in(monkeypatch, f"out.write({PACKED[:-1]!r}); {STAYS}")
    assert worker.submit(JOB)
    assert worker.answer(0.5) is None
    worker.close()


def test_one_that_says_nothing_for_long_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE", 0.2)
    worker = stand_in(monkeypatch, STAYS)
    assert worker.answer() is None  # nothing was asked
    assert worker.submit(JOB)
    with pytest.raises(WorkerLost, match="not answered for"):
        answer_of(worker)
    worker.close()
