"""The images of QEMU's source package that need no operating system pass on arm-virt.

pytest -m slow tests/suites      # in every stress mode; and programs in a booted Linux
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import BimetalError
from bimetal.codegen.policy import VARIABLE, stressed
from tests.agree.engines import STRESS
from tests.host import lacking, programs
from tools.qemu_tests import COMPILER, SYSTEM, run_image, system_images

pytestmark = [pytest.mark.boot, programs(COMPILER, "apt-get")]

LIMIT = 300.0
LONG = {"memory"}
"""Of 193 million instructions; the others have a few hundred or thousand."""
MODES = [
    (name, mode)
    for name in SYSTEM
    for mode in STRESS
    # All would be translated 776,000 times.
    if not (name in LONG and stressed(mode).forget)
]


@pytest.fixture(scope="module")
def images() -> dict[str, Path]:
    """The images, built. Without a network their tests are skipped, but not by .ci/run."""
    try:
        return system_images()
    except BimetalError as error:
        lacking(str(error))
        raise


def check(images: dict[str, Path], name: str, accel: str) -> None:
    verdict, printed = run_image(name, images[name], accel, LIMIT)
    assert verdict == "passed", printed[-2000:]


@pytest.mark.parametrize("name", SYSTEM)
def test_translated(images: dict[str, Path], name: str) -> None:
    check(images, name, "jit")


@pytest.mark.parametrize("name", [name for name in SYSTEM if name not in LONG])
def test_interpreted(images: dict[str, Path], name: str) -> None:
    check(images, name, "interp")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LONG))
def test_interpreted_at_length(images: dict[str, Path], name: str) -> None:
    check(images, name, "interp")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), MODES)
def test_in_every_mode(
    images: dict[str, Path], name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, mode)
    check(images, name, "jit")
