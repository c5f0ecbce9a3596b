"""``bimetal kvm-ok``: the verdict and exit code of Debian's program of that name."""

from __future__ import annotations

import pytest

from bimetal import examine_kvm
from bimetal.accel.kvm.examine import Finding, Kvm, check_kvm
from bimetal.base.errors import BimetalError
from bimetal.cli import kvm_ok
from tests.accel.kvm.quirks import KVM_MISSING, QUIRKS
from tests.cli.conftest import Cli


def test_yes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm = Kvm(True, (Finding("device", True, "/dev/kvm opens"),))
    monkeypatch.setattr(kvm_ok, "examine_kvm", lambda: kvm)
    shown = cli("kvm-ok")
    assert shown.code == 0
    assert shown.out == "INFO: device: /dev/kvm opens\nKVM acceleration can be used\n"


def test_no(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm = Kvm(False, (Finding("device", False, "there is no /dev/kvm", "modprobe kvm"),))
    monkeypatch.setattr(kvm_ok, "examine_kvm", lambda: kvm)
    shown = cli("kvm-ok")
    assert shown.code == 1
    assert "FAIL: device: there is no /dev/kvm\nHINT: modprobe kvm\n" in shown.out
    assert shown.out.endswith("KVM acceleration can NOT be used\n")


def test_this_host_is_found_out_by_a_guest() -> None:
    kvm = examine_kvm()
    assert kvm.usable == (not KVM_MISSING and "int3" not in QUIRKS)
    assert kvm.usable == all(finding.well for finding in kvm.findings)
    found = {finding.what: finding for finding in kvm.findings}
    if KVM_MISSING:
        assert found["device"].remedy
        with pytest.raises(BimetalError):
            check_kvm()
    elif "guest" in found:
        assert "a guest ran" in found["guest"].text


def test_the_verdict_does_not_contradict_what_was_found(cli: Cli) -> None:
    shown = cli("kvm-ok")
    assert ("FAIL" in shown.out) == ("can NOT be used" in shown.out) == (shown.code == 1)
