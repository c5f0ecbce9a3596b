"""Machines that change from our own accelerators to KVM, and back, while they compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bimetal import Machine
from bimetal.accel.reference import Reference
from bimetal.base.clock import RealClock
from bimetal.base.errors import BimetalError
from tests.accel.kvm.quirks import KVM_MISSING
from tests.kvm_bed.counting import BAD, DONE, counting_kernel

LIMIT = 120
DOTS = 2
PERIOD = 400_000_000
"""Nanoseconds: the reference takes a part of that for the handler of an interrupt."""

pytestmark = pytest.mark.skipif(bool(KVM_MISSING), reason=KVM_MISSING or "there is one")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "counting.elf"
    path.write_bytes(counting_kernel(wide=False, period=PERIOD))
    return path


@contextmanager
def going_on(path: Path, accel: str) -> Iterator[Machine]:
    clock, model = RealClock(), "host" if accel == "kvm" else "max"
    engine = Reference("x86_64", clock=clock) if accel == "reference" else accel
    named = model if isinstance(engine, str) else ""
    with Machine.restore(path, accel=engine, clock=clock, cpu_model=named) as vm:
        vm.start()
        yield vm


def counts(vm: Machine) -> None:
    """It counts, and its timer goes on."""
    vm.console.expect("." * DOTS, LIMIT)
    assert BAD not in vm.console.log, vm.console.log


@pytest.mark.parametrize(
    "accels",
    [
        ("reference", "kvm", "reference", "kvm"),
        pytest.param(("jit", "kvm", "jit", "interp", "kvm"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_a_machine_goes_on_with_another_accelerator(
    kernel: Path, tmp_path: Path, accels: tuple[str, ...]
) -> None:
    clock, state = RealClock(), tmp_path / "state"
    first = Reference("x86_64", clock=clock) if accels[0] == "reference" else accels[0]
    with Machine("microvm", kernel=str(kernel), memory="64M", accel=first, clock=clock) as vm:
        vm.start()
        counts(vm)
        vm.save(state, stop=True)
    for accel in accels[1:]:
        with going_on(state, accel) as vm:
            counts(vm)
            vm.save(state, stop=True)
    with going_on(state, accels[0]) as vm:
        vm.console.send("x")
        assert vm.wait(LIMIT).code == DONE


@pytest.mark.slow
def test_a_named_processor_is_there_on_both_sides(kernel: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = Machine(
        "microvm", kernel=str(kernel), memory="64M", accel="interp", cpu_model="qemu64,-pni"
    )
    with made as vm:
        vm.start()
        counts(vm)
        vm.save(state, stop=True)
    for accel in ("kvm", "interp"):
        with Machine.restore(state, accel=accel) as vm:
            vm.start()
            counts(vm)
            vm.save(state, stop=True)
    with Machine.restore(state, accel="kvm") as vm:
        vm.start()
        vm.console.send("x")
        assert vm.wait(LIMIT).code == DONE


def test_a_processor_that_kvm_has_not_is_an_error(kernel: Path, tmp_path: Path) -> None:
    """No KVM has the whole of it: nobody else announces la57 and SHA with a family that old."""
    clock, state = RealClock(), tmp_path / "state"
    accel = Reference("x86_64", clock=clock)
    with Machine("microvm", kernel=str(kernel), memory="64M", accel=accel, clock=clock) as vm:
        vm.start()
        counts(vm)
        vm.save(state, stop=True)
    with pytest.raises(BimetalError, match=r"the processor max has .*pcid") as caught:
        Machine.restore(state, accel="kvm")
    assert "--cpu host" in caught.value.remedy


def test_kvms_own_processor_is_an_error_elsewhere(kernel: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Machine("microvm", kernel=str(kernel), memory="64M", accel="kvm") as vm:
        vm.start()
        counts(vm)
        vm.save(state, stop=True)
    with pytest.raises(BimetalError, match="KVM's processor 'host'") as caught:
        Machine.restore(state, accel="interp")
    assert "--cpu max" in caught.value.remedy
