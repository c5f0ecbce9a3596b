"""``bimetal doctor``: one line a finding, and a remedy below what is missing."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bimetal import BimetalError, ExitCode
from bimetal.cli import doctor
from tests.cli.conftest import Cli


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's look at the mirror, without one."""

    def unreachable() -> str:
        raise BimetalError("the mirror does not answer", "check the network")

    monkeypatch.setattr(doctor, "check_mirror", unreachable)


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and no guest run: that would take seconds to fill it with code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "engine", lambda name: f"{name} was not tried")


def findings(text: str) -> dict[str, str]:
    """The word before each finding's name."""
    return {line.split()[1]: line.split()[0] for line in text.splitlines() if line[0] != " "}


def test_a_host_on_which_machines_run_is_healthy(cli: Cli) -> None:
    shown = cli("doctor")
    assert shown.code == 0
    words = findings(shown.out)
    assert {words[name] for name in ("python", "host", "llvm", "cache", "jit", "interp")} == {"ok"}
    assert words["mirror"] == "no"
    assert f"{'':15}check the network\n" in shown.out


def test_a_new_host_is_told_how_to_get_a_guest(cli: Cli, empty: None) -> None:
    shown = cli("doctor")
    assert findings(shown.out)["guests"] == "no"
    assert "bimetal fetch" in shown.out


def test_a_cache_that_cannot_be_written_is_an_illness(
    cli: Cli, empty: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    shown = cli("doctor")
    assert shown.code == ExitCode.UNAVAILABLE
    assert findings(shown.out)["cache"] == "FAIL"
    assert "XDG_CACHE_HOME" in shown.out


def test_an_engine_that_fails_is_an_illness(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROGRAM", bytes.fromhex("370f1000 b73f0100 938f3f33 2320ff01"))
    shown = cli("doctor")
    assert shown.code == ExitCode.UNAVAILABLE
    assert findings(shown.out)["jit"] == "FAIL"


def test_an_old_python_is_an_illness(
    cli: Cli, empty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert findings(cli("doctor").out)["python"] == "FAIL"


def test_each_board_is_there_with_what_runs_it(
    cli: Cli, empty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    shown = cli("doctor").out
    assert "ok    aarch64  arm-virt, by jit, interp\n" in shown
    assert (
        "no    x86_64   microvm, by nothing unless it is named (jit, interp: not finished: "
        in shown
    )
    assert "kvm: KVM runs s390x guests on this host, not x86_64)" in shown
    assert f"{'':15}try --accel jit\n" in shown


def test_a_host_without_kvm_is_told_so(
    cli: Cli, empty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise BimetalError("there is no /dev/kvm", "load the module")

    monkeypatch.setattr(doctor, "check_kvm", missing)
    shown = cli("doctor")
    assert shown.code == 0
    assert findings(shown.out)["kvm"] == "no"
    assert "load the module" in shown.out
