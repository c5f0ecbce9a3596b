"""What is known to be broken in the KVM of the host that the tests run on, by feature and reason.

Two hosts are recognised: one whose KVM emulates supervisor code instead of running it (the module
kvm_pvm), and one whose SVM is itself emulated by QEMU (its processor says "QEMU TCG").
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

__all__ = ["KVM_MISSING", "QUIRKS", "needs"]

EMULATED = "KVM emulates supervisor code on this host (kvm_pvm) and "
NESTED = "QEMU's emulation of SVM on this host "

PVM = {
    "watchpoints": EMULATED + "its emulator does not look at data breakpoints",
    "software breakpoints": EMULATED + "its emulator does not know int3 outside real mode",
    "int3": EMULATED + "its emulator does not know int3 outside real mode",
    "syscall": EMULATED + "SYSCALL does not leave user mode",
    "32-bit paging": EMULATED + "paging without 64-bit mode is refused",
    "masked cpuid": EMULATED + "CPUID shows features that nobody set",
    "user single step": EMULATED + "single steps of user code reach the guest",
    "vector code": EMULATED + "its emulator knows no SSE arithmetic",
    "vmcall": EMULATED + "VMCALL loops for ever inside KVM_RUN",
}
OLD_TCG = {
    "breakpoints": NESTED + "does not report debug exceptions (before QEMU 10)",
    "watchpoints": NESTED + "does not report debug exceptions (before QEMU 10)",
}
TCG = {
    "software breakpoints": NESTED + "does not intercept int3",
    "self-modifying code": NESTED + "misses a store to the block that runs",
}


def _kvm_missing() -> str:
    if platform.machine() not in ("x86_64", "aarch64", "riscv64"):
        return f"there is no KVM support for {platform.machine()}"
    if not os.path.exists("/dev/kvm"):
        return "this host has no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission to open /dev/kvm"
    return ""


def _quirks() -> dict[str, str]:
    if Path("/sys/module/kvm_pvm").exists():
        return PVM
    if "QEMU TCG" in Path("/proc/cpuinfo").read_text():
        new = int(os.environ.get("BED_QEMU", "0")) >= 10
        return TCG if new else TCG | OLD_TCG
    return {}


KVM_MISSING = _kvm_missing()
"""Why there are no tests of KVM on this host, or nothing."""
QUIRKS = {} if KVM_MISSING else _quirks()


def needs(feature: str) -> None:
    """Skip the running test, by name and with the reason, where ``feature`` is broken."""
    if feature in QUIRKS:
        pytest.skip(f"{feature}: {QUIRKS[feature]}")
