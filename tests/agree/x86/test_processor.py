"""x86 instructions do what the host's own processor does, flags, MXCSR and faults included.

pytest -m slow tests/agree/x86      # more encodings and states, and native code
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from bimetal.codegen.processor import host_has

from ..state import CODE, Case, Executor, State, differences
from .cases import cases, instructions
from .executors import CpuExecutor, ReferenceExecutor, RegionExecutor, RunExecutor
from .makers import comparable, settled
from .native import Native

COMMON = {
    *("arithmetic", "bits", "exchanges", "flag_operations", "moves", "products", "shifts"),
    *("strings", "fpu", "cmov", "cx8", "mmx", "sse", "sse2"),
}
"""What every processor of 64 bits has, and programs may use."""
OPTIONAL = {
    *(
        "sse3",
        "ssse3",
        "sse4_1",
        "sse4_2",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "aes",
        "sse4a",
        "vaes",
        "gfni",
    ),
    *("pclmulqdq", "vpclmulqdq", "sha_ni", "cx16", "lahf_lm", "bmi1", "bmi2", "adx", "abm"),
    *("movbe", "popcnt"),
}
"""What not every one has."""
EXTENSIONS = sorted(COMMON | OPTIONAL)
KERNEL_NAMES = {"sse3": "pni"}
"""What Linux calls extensions."""


APPROXIMATE = {"fsin", "fcos", "fsincos", "fptan", "f2xm1", "fpatan", "fyl2x", "fyl2xp1"}
"""What the reference rounds correctly and processors do not always:
`tests/codegen/test_extended.py`."""


FAR = ("bt", "btc", "btr", "bts")
"""What finds bits far from where ModRM points to."""


@cache
def table(extension: str, words: int, states: int) -> list[Case]:
    """Cases of an extension."""
    return [
        case
        for insn in instructions(extension)
        if insn.name not in APPROXIMATE
        for case in cases(insn, words, states)
        if comparable(case) and (insn.name not in FAR or "[" not in case.text)
    ]


@pytest.fixture(scope="module")
def native() -> Iterator[Native]:
    with Native() as processor:
        yield processor


def need(extension: str) -> None:
    """Skip what the host's processor does not have."""
    if extension in OPTIONAL and not host_has(KERNEL_NAMES.get(extension, extension)):
        pytest.skip(f"the host's processor has no {extension}")


def agree(executor: Executor, tried: list[Case], want: list[State]) -> None:
    assert tried, "there is nothing to compare"
    got = executor.execute(tried)
    wrong = differences(tried, got, settled(tried, got, want))
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tried)} differ", *wrong[:10]])


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_reference_agrees(extension: str, native: Native) -> None:
    need(extension)
    tried = table(extension, words=1, states=3)
    agree(ReferenceExecutor(), tried, native.execute(tried))


def goes_on(case: Case, after: State) -> bool:
    """Whether an instruction neither traps nor jumps."""
    return after.trap is None and after.registers["rip"] == CODE + case.size


@pytest.mark.slow
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_reference_agrees_at_length(extension: str, native: Native) -> None:
    need(extension)
    tried = table(extension, words=12, states=60)
    agree(ReferenceExecutor(), tried, native.execute(tried))


def agree_where_it_goes_on(
    executor: CpuExecutor, extension: str, words: int, states: int, native: Native
) -> None:
    """Compare the cases that neither trap nor jump."""
    need(extension)
    tried = table(extension, words, states)
    outcomes = list(zip(tried, native.execute(tried), strict=True))
    kept = [(case, after) for case, after in outcomes if goes_on(case, after)]
    agree(executor, [case for case, _ in kept], [after for _, after in kept])


@pytest.mark.slow
@pytest.mark.parametrize("executor", [CpuExecutor(), RunExecutor()], ids=lambda each: each.name)
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_records_and_runs_agree(extension: str, executor: CpuExecutor, native: Native) -> None:
    agree_where_it_goes_on(executor, extension, 8, 12, native)


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_regions_agree(extension: str, level: int, native: Native) -> None:
    executor = RegionExecutor(level)
    agree_where_it_goes_on(executor, extension, 4, 12, native)
    assert executor.regions.translated
