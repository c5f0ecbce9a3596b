"""Programs of Linux from QEMU's and Valgrind's source packages do in a guest of ours what they do
in the same guest under QEMU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bimetal import BimetalError
from tests.host import lacking, programs
from tools import qemu_tests, valgrind_tests
from tools.guest_programs import NONE, QEMU, Latitude, Outcome, differences, run_here, run_on_qemu

pytestmark = [pytest.mark.slow, programs(qemu_tests.COMPILER, QEMU, "apt-get")]

CPUS = 2


def other(
    programs: Mapping[str, Path], latitude: Latitude = NONE
) -> dict[str, tuple[Outcome, Outcome]]:
    """What the programs did that do otherwise, here and there."""
    here, there = run_here(programs, "jit", CPUS), run_on_qemu(programs, CPUS)
    return {name: (here[name], there[name]) for name in differences(here, there, latitude)}


@pytest.fixture(autouse=True)
def sources() -> None:
    """What the programs are built of. Without a network tests are skipped, but not by .ci/run."""
    try:
        qemu_tests.sources(), valgrind_tests.sources()
    except BimetalError as error:
        lacking(str(error))


def test_qemus_programs() -> None:
    assert not other(qemu_tests.linux_programs(), qemu_tests.LATITUDE)


def test_valgrinds_programs() -> None:
    assert not other(valgrind_tests.programs())
