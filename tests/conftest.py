"""What a host lacks: skipped by name, or a failure, see `tests.host`. How long an example takes, or
to think it up, says something of the host and nothing of what is tested."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests import host


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--complete",
        action="store_true",
        help="fail, instead of skipping, where a program or guest is missing that .ci/run provides",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "programs(*names): needs programs, see tests/host.py")
    host.set_complete(config.getoption("--complete"))
    if config.pluginmanager.hasplugin("hypothesispytest"):
        time_nothing()


def time_nothing() -> None:
    """Before any test is imported, as the defaults then are those of its examples."""
    hypothesis = import_module("hypothesis")
    untimed = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("untimed", **untimed)
    hypothesis.settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("programs"):
        host.need(*mark.args)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The command line decides where its process logs to; the tests that follow do without."""
    package = logging.getLogger("bimetal")
    # Not by the fixture: begun here, it would undo what a test does after all other fixtures.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "handlers", list(package.handlers))
        patch.setattr(package, "propagate", package.propagate)
        yield
