"""The seam suite on KVM of other architectures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.host import need
from tests.kvm_bed.foreign import BEDS, ForeignBed

pytestmark = pytest.mark.slow

LIMIT = 600


@pytest.mark.parametrize("bed", BEDS, ids=lambda bed: bed.architecture)
def test_the_seam_suite(bed: ForeignBed, tmp_path: Path) -> None:
    if "BED_SCRATCH" in os.environ:
        pytest.skip("this is a bed already")
    need(bed.emulator[0])
    outcome = bed.run(tmp_path, LIMIT)
    print(outcome.output)
    assert outcome.code == 0
    assert " passed" in outcome.output
