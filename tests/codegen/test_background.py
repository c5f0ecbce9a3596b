"""What one run leaves to the next: regions in the store, and what is compiled after its end."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bimetal.accel.jit import JitCpu
from bimetal.codegen.cover import Cover
from bimetal.codegen.job import Job
from bimetal.codegen.policy import USUAL
from bimetal.codegen.store import CodeStore
from bimetal.codegen.stored_region import StoredRegion, bits_of, ones
from bimetal.isa.riscv import rv64
from tests.codegen.hart import Hart, interp, jit
from tests.codegen.programs import CODE

LAPS = 3_000_000
LOOP = [
    # Budgets are looked at in jumps.
    f"jal zero, {CODE + 4:#x}",
    f"jal zero, {CODE + 8:#x}",
    f"jal zero, {CODE + 12:#x}",
    f"lui s1, {LAPS >> 12:#x}",
    "addi a0, a0, 3",
    "xor a1, a1, a0",
    "slli a2, a1, 3",
    "add a1, a1, a2",
    "addi s1, s1, -1",
    f"bne s1, zero, {CODE + 16:#x}",
    "lui t0, 0x100",
    "sd a1, 0(t0)",
]
BODY = tuple(range(16, 40, 4))
LIMIT = 300.0


def program() -> bytes:
    return b"".join(rv64.assemble(text, CODE + 4 * n) for n, text in enumerate(LOOP))


def run(hart: Hart) -> None:
    """Run the program; its page stays decoded from run to run."""
    hart.begin(program())
    hart.finish()


def until(condition: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    """Do something again and again, while others work towards a condition."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "nothing comes of it"
        meanwhile()


def run_until_compiled(hart: Hart, cpu: JitCpu) -> None:
    until(lambda: cpu.tiering.statistics.compiled > 0, lambda: run(hart))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodeStore:
    """The store of all machines of this test, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return CodeStore()


def stored_regions(store: CodeStore) -> list[StoredRegion]:
    """All regions in the store; the interpreter stands there too, without the name of one."""
    names = [name for key in sorted(store.keys()) for name, _ in store.parts(key)]
    return [StoredRegion.parse(name) for name in names if name]


def test_a_stored_region_is_its_name() -> None:
    cover = Cover.of(bytes(4096), ((0, 8), (4094, 4096)))
    stored = StoredRegion(2, "region_x", (0, 4094), bits_of((0, 2, 6, 4094)), cover)
    assert StoredRegion.parse(stored.name) == stored
    empty = StoredRegion(1, "region_y", (), 0, Cover.of(bytes(4096), ()))
    assert StoredRegion.parse(empty.name) == empty


def test_what_was_hot_is_compiled_in_the_background_for_the_next_run(store: CodeStore) -> None:
    none_in_time = replace(USUAL, jobs=0)
    with jit(none_in_time, background=True) as (hart, cpu):
        run(hart)
        first = hart.outcome()
        assert cpu.tiering.statistics.compiled == 0
    # The process gets only the time that nobody wants.
    until(lambda: not store.is_claimed(), lambda: time.sleep(0.01))
    assert any(set(BODY) <= set(ones(stored.bits)) for stored in stored_regions(store))
    with jit(none_in_time) as (hart, cpu):
        until(lambda: cpu.installed > 0, lambda: run(hart))
        assert cpu.tiering.statistics.from_store > 0
        assert hart.outcome() == first
    with interp() as hart:
        run(hart)
        assert hart.outcome() == first


def test_nothing_is_compiled_by_another_engine_than_the_one_that_ran(
    store: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bimetal.codegen.worker.engine_digest", lambda *_: b"of yesterday")
    with jit(replace(USUAL, jobs=0), background=True) as (hart, _):
        run(hart)
    until(lambda: not store.is_claimed(), lambda: time.sleep(0.01))
    assert stored_regions(store) == []


def test_so_is_what_was_hot_before_other_code_took_its_place(store: CodeStore) -> None:
    code = program()
    other = code.replace(rv64.assemble("slli a2, a1, 3", 0), rv64.assemble("slli a2, a1, 4", 0))
    with jit(replace(USUAL, jobs=0), background=True) as (hart, cpu):
        until(lambda: cpu.sampled > 100, lambda: run(hart))
        hart.begin(other)
        hart.finish()
    until(lambda: not store.is_claimed(), lambda: time.sleep(0.01))
    found = [stored for stored in stored_regions(store) if set(BODY) <= set(ones(stored.bits))]
    page = code.ljust(4096, b"\0")
    assert any(stored.cover.fits(page) for stored in found)


def test_so_is_an_optimised_region_of_what_is_very_hot(store: CodeStore) -> None:
    for level in (1, 2):
        with jit(replace(USUAL, jobs=0), background=True) as (hart, cpu):
            until(lambda: cpu.sampled > 100, lambda: run(hart))
            if level == 2:
                until(lambda: cpu.sampled_in_regions > 2000, lambda: run(hart))
        until(lambda: not store.is_claimed(), lambda: time.sleep(0.01))
        found = [stored for stored in stored_regions(store) if set(BODY) <= set(ones(stored.bits))]
        assert {stored.level for stored in found} == set(range(1, level + 1))


def test_code_that_comes_and_goes_is_left_once(
    store: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list[Job]()

    def collect(isa: object, shared: bool, jobs: Iterable[Job], _: object) -> None:
        left.extend(jobs)

    monkeypatch.setattr("bimetal.codegen.background.translate_in_background", collect)
    code = program()
    other = code.replace(rv64.assemble("slli a2, a1, 3", 0), rv64.assemble("slli a2, a1, 4", 0))
    with jit(replace(USUAL, jobs=0), background=True) as (hart, cpu):
        for turn in range(8):
            hart.begin(other if turn % 2 else code)
            hart.finish()
            cpu.tiering.attend(cpu)
    assert {job.code[: len(code)] for job in left} == {code, other}
    before = set[tuple[bytes, int, bool]]()
    for job in left:
        places = {(job.code, at, False) for at in job.entries}
        places |= {(job.code, at, True) for at in job.jumps}
        assert not places <= before
        before |= places


def test_stores_of_before_are_not_closed_in_a_copy_of_a_copy(store: CodeStore) -> None:
    """SQLite: "How To Corrupt An SQLite Database File", 2.6."""
    with jit() as (_, cpu):
        of_the_first = weakref.ref(cpu.tiering._store)
        for _ in range(2):
            cpu.tiering.forked()
        gc.collect()
        kept = of_the_first()
        assert kept is not None
    kept.close()


def test_no_translator_is_started_for_what_the_store_has(store: CodeStore) -> None:
    quick_only = replace(USUAL, very_hot=1 << 60)
    with jit(quick_only) as (hart, cpu):
        run_until_compiled(hart, cpu)
    with jit(quick_only) as (hart, cpu):
        until(lambda: cpu.sampled_in_regions > 0, lambda: run(hart))
        run(hart)
        assert cpu.tiering.statistics.compiled == 0
        assert cpu.tiering._orders._worker is None


NOTHING_PAYS = replace(USUAL, start=1 << 60)
"""No heat is worth starting the translator."""


def test_a_translator_is_started_at_once_where_nothing_is_stored(store: CodeStore) -> None:
    with jit(NOTHING_PAYS) as (hart, cpu):
        run(hart)
        assert cpu.tiering._orders._worker is not None


def test_no_copy_starts_one_for_that(store: CodeStore) -> None:
    with jit(NOTHING_PAYS) as (hart, cpu):
        of_the_first = cpu.tiering._store
        cpu.tiering.forked()
        run(hart)
        assert cpu.tiering._orders._worker is None
    assert of_the_first is not None
    of_the_first.close()


POINTER = 64
"""Beside the program in its page."""


def test_regions_serve_a_page_of_which_only_what_stands_beside_them_differs(
    store: CodeStore,
) -> None:
    with jit(USUAL) as (hart, cpu):
        run_until_compiled(hart, cpu)
        compiled = cpu.tiering.statistics.compiled
    with jit(replace(USUAL, jobs=0)) as (hart, cpu):

        def elsewhere() -> None:
            hart.begin(program())
            hart.put(CODE + POINTER, b"another address")
            hart.finish()

        until(lambda: cpu.installed >= compiled, elsewhere)
        assert cpu.tiering.statistics.from_store == compiled
        elsewhere()
        with interp() as other:
            run(other)
            expected = other.outcome()["registers"]
        assert hart.outcome()["registers"] == expected


def test_what_is_written_beside_a_region_leaves_it_in_use(store: CodeStore) -> None:
    with jit(replace(USUAL, very_hot=1 << 60)) as (hart, cpu):
        run_until_compiled(hart, cpu)
        run(hart)
        before, made = cpu.sampled_in_regions, cpu.tiering.statistics.compiled

        def patched() -> None:
            hart.begin(program())
            hart.put(CODE + POINTER, b"a tracer's")
            hart.finish()

        # As the kernel's own patches are, this one is met while its page is decoded.
        until(lambda: cpu.sampled_in_regions > before + LAPS * 6 // USUAL.slice // 4, patched)
        assert cpu.tiering.statistics.compiled == made


def test_a_region_is_not_used_where_one_of_its_instructions_is_another(store: CodeStore) -> None:
    with jit(USUAL) as (hart, cpu):
        run_until_compiled(hart, cpu)
    with jit(replace(USUAL, jobs=0)) as (hart, cpu):
        other = program().replace(rv64.assemble(LOOP[5], 0), rv64.assemble("or a1, a1, a0", 0))
        hart.begin(other)
        hart.finish()
        hart.begin(other)
        hart.finish()
        assert cpu.tiering.statistics.from_store == 0


def test_a_machine_that_is_not_to_leaves_nothing_behind(store: CodeStore) -> None:
    with jit(replace(USUAL, jobs=0)) as (hart, _):
        run(hart)
    assert not store.is_claimed()
    assert not stored_regions(store)


def test_one_background_process_at_a_time(store: CodeStore) -> None:
    claim = store.claim()
    assert claim is not None
    assert store.is_claimed()
    with jit(replace(USUAL, jobs=0), background=True) as (hart, _):
        run(hart)
    assert not stored_regions(store)


def test_the_optimiser_knows_what_an_earlier_run_has_executed(store: CodeStore) -> None:
    with jit(USUAL) as (hart, cpu):
        run_until_compiled(hart, cpu)
    assert {stored.level for stored in stored_regions(store)} == {1}
    # It waits for regions at a jump, so the loop is never interpreted.
    eager = replace(USUAL, wait=True, slice=1, very_hot=1, patience=1)
    with jit(eager) as (hart, cpu):
        run_until_compiled(hart, cpu)
    optimised = [stored for stored in stored_regions(store) if stored.level == 2]
    assert optimised
    assert all(set(BODY) <= set(ones(stored.bits)) for stored in optimised)


LEAVE = """
from types import SimpleNamespace
from bimetal.codegen.background import translate_in_background
from bimetal.codegen.frames import Frame
from bimetal.codegen.store import CodeStore
from bimetal.isa.names import instruction_set
job = SimpleNamespace(frame=lambda: Frame({}, b""))
store = CodeStore()
translate_in_background(instruction_set("riscv64"), False, [job], store)
print(store.is_claimed())
"""


def test_a_process_that_goes_on_is_nothing_to_warn_of(store: CodeStore) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", LEAVE], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
