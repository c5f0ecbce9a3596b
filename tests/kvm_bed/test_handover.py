"""A machine that our translator ran goes on under a KVM that runs all of a processor, which is in
the bed, and then here again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bimetal import Machine
from tests.host import programs
from tests.kvm_bed.bed import SCRATCH, run
from tests.kvm_bed.counting import BAD, DONE, counting_kernel

LIMIT = 120
DOTS = 5

pytestmark = [
    pytest.mark.slow,
    programs("qemu-system-x86_64"),
    pytest.mark.skipif("BED_SCRATCH" in os.environ, reason="this is the bed"),
]


def counts(vm: Machine) -> None:
    vm.start()
    vm.console.expect("." * DOTS, LIMIT)
    assert BAD not in vm.console.log, vm.console.log


def test_a_machine_goes_from_the_translator_to_kvm_and_back(tmp_path: Path) -> None:
    """With x87, SSE and AVX that compute, two page tables, two modes, and a timer."""
    kernel, state = tmp_path / "counting.elf", tmp_path / "state"
    kernel.write_bytes(counting_kernel(wide=True))
    with Machine("microvm", kernel=str(kernel), memory="64M", accel="jit") as vm:
        counts(vm)
        vm.save(state, stop=True)
    outcome = run([sys.executable, "-m", "tests.kvm_bed.go_on", f"{SCRATCH}/state"], tmp_path)
    assert outcome.code == 0, outcome.output
    with Machine.restore(state, accel="jit", cpu_model="max") as vm:
        counts(vm)
        vm.console.send("x")
        assert vm.wait(LIMIT).code == DONE
