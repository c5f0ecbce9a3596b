"""Which accelerator a machine gets."""

from __future__ import annotations

import logging
import platform
from typing import Any

import pytest

from bimetal.accel import choose
from bimetal.accel.kvm.device import KvmUnavailable
from bimetal.accel.script import ScriptAccelerator
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError, ExitCode
from tests.accel.kvm.quirks import KVM_MISSING, QUIRKS


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A host whose KVM works, until ``kernels`` or ``kvm`` says why it does not."""
    found: dict[str, Any] = {"isa": "x86_64", "kernels": None, "kvm": None}

    def load(target: str) -> Any:
        def make(isa: str, **options: Any) -> Any:
            trouble = {choose.KVM_CHECK: found["kernels"], choose.KVM: found["kvm"]}.get(target)
            if trouble is not None:
                raise trouble
            accelerator = ScriptAccelerator()
            accelerator.name = "kvm" if target == choose.KVM else target
            return accelerator

        return make

    monkeypatch.setattr(choose, "late", load)
    monkeypatch.setattr(platform, "machine", lambda: found["isa"])
    return found


def create(accel: str, isa: str, model: str = "") -> str:
    return choose.create(
        accel, isa, clock=VirtualClock(), firmware_calls=False, cpus=1, model=model
    ).name


def test_auto_is_kvm_where_that_runs_kernels(host: dict[str, Any]) -> None:
    assert create("auto", "x86_64") == "kvm"
    assert create("auto", "riscv64") == choose.ENGINES["jit"]


def test_auto_is_not_a_kvm_that_runs_no_kernels(host: dict[str, Any]) -> None:
    host["kernels"] = KvmUnavailable("it emulates", "use another host")
    with pytest.raises(BimetalError, match="it emulates") as caught:
        create("auto", "x86_64")
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert caught.value.remedy.startswith("use another host; or try --accel jit")
    assert create("kvm", "x86_64") == "kvm"


def test_auto_says_why_it_is_something_else(
    host: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    host["isa"], host["kvm"] = "riscv64", KvmUnavailable("there is no /dev/kvm")
    with caplog.at_level(logging.WARNING, "bimetal"):
        assert create("auto", "riscv64") == choose.ENGINES["jit"]
    assert caplog.messages == ["jit instead of kvm: there is no /dev/kvm"]


@pytest.mark.parametrize(
    ("accel", "isa", "model", "cause", "remedy"),
    [
        ("jti", "riscv64", "", "no accelerator 'jti'", "did you mean jit? choose from auto, kvm"),
        ("tcg", "riscv64", "", "no accelerator 'tcg'", "choose from auto, kvm, jit, interp"),
        ("kvm", "riscv64", "", "KVM runs x86_64 guests", "choose from auto, jit, interp"),
        ("jit", "riscv64", "rv46", "no processor model 'rv46'", "did you mean rv64? choose from"),
        ("jit", "riscv64", "rv64,+v", "rv64 cannot be changed by '\\+v'", "take away features"),
        ("jit", "riscv64", "rv64,-d", "rv64 cannot be changed by '-d'", "take away features"),
        ("jit", "riscv64", "rv64,-zbb,+zbkb", "have zbkb and have it not", "say one of them"),
        ("jit", "aarch64", "max,sve=on", "max cannot be changed by 'sve=on'", "take away features"),
        (
            "jit",
            "aarch64",
            "max,-sve",
            "max cannot be changed by '-sve'",
            "take away features of it",
        ),
        ("jit", "aarch64", "max,", "max cannot be changed by ''", "take away features of it"),
        (
            "jit",
            "aarch64",
            "cortex-a53,+lse",
            "cortex-a53 has no lse",
            "leave that away, or choose",
        ),
        ("jit", "aarch64", "max,+lse,-lse", "cannot have lse and have it not", "say one of them"),
        ("jit", "aarch64", "cortex-a35", "no processor model", "did you mean cortex-a57"),
        ("jit", "s390x", "", "jit does not run s390x guests", "choose 'kvm'"),
        ("auto", "s390x", "", "nothing here runs s390x guests", "choose another board"),
    ],
)
def test_what_cannot_be_had(
    host: dict[str, Any], accel: str, isa: str, model: str, cause: str, remedy: str
) -> None:
    with pytest.raises(BimetalError, match=cause) as caught:
        create(accel, isa, model)
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.skipif(bool(KVM_MISSING), reason=KVM_MISSING or "KVM")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="only KVM on x86 is looked at")
def test_this_hosts_kvm_is_chosen_if_it_runs_kernels() -> None:
    if "int3" in QUIRKS:
        with pytest.raises(KvmUnavailable, match="no stock kernel boots"):
            create("auto", "x86_64")
    else:
        assert create("auto", "x86_64") == "kvm"
    assert create("kvm", "x86_64") == "kvm"
