"""Tests that cannot run somewhere: skipped in one way, which CI turns into a failure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import host

ROOT = Path(__file__).resolve().parent.parent
CI = (ROOT / ".ci" / "run").read_text()


@pytest.fixture
def bare_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host without programs."""
    monkeypatch.setenv("PATH", str(tmp_path))


def test_ci_installs_every_program_that_tests_need() -> None:
    (block,) = re.findall(r"PACKAGES=\((.*?)\n\)", CI, re.DOTALL)
    installed = re.sub(r"#.*", "", block).split()
    assert set(host.PACKAGES.values()) <= set(installed)


def test_ci_says_what_is_skipped_and_fails_for_what_is_missing() -> None:
    assert re.search(r"pytest.* -rs --complete$", CI, re.MULTILINE)


def test_a_missing_program_is_a_skip_that_names_its_package(
    bare_host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_complete", False)
    with pytest.raises(pytest.skip.Exception, match=r"dtc .*Debian: device-tree-compiler"):
        host.need("dtc")


def test_where_everything_should_be_there_it_is_a_failure(
    bare_host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_complete", True)
    with pytest.raises(pytest.fail.Exception, match="dtc is not installed"):
        host.need("dtc")
