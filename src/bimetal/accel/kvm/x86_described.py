"""The processors that our own accelerators have, for KVM's guests: the same CPUID, so that machines
can change from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.x86_cpuid import Leaf
from bimetal.accel.memory import Memory
from bimetal.accel.reference.cpu import ReferenceCpu
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.ir.evaluate import call
from bimetal.isa.contract import Start
from bimetal.isa.names import architecture
from bimetal.isa.x86.cpuid import answer
from bimetal.isa.x86.features import FEATURES

__all__ = ["TSC_KHZ", "check_host", "described_leaves"]

TSC_KHZ = 1_000_000
"""How fast the time-stamp counter of such processors counts."""
EXTENDED = 0x8000_0000
INDEXED = {0x4: 4, 0x7: 1, 0xB: 3, 0xD: 3}
"""Functions with several answers, and how many of them are looked at."""
BY_KVM = {"hypervisor", "monitor", "osxsave"}
"""What every KVM has, whatever it says: MONITOR and MWAIT do nothing there."""


def described_leaves(model: str, index: int) -> list[Leaf]:
    """What CPUID tells on CPU ``index`` of such a model: the descriptions are asked."""
    described = architecture("x86_64")
    cpu = ReferenceCpu(described, Start(index, model=model), Memory(), VirtualClock())
    return [*_asked(cpu, 0), *_asked(cpu, EXTENDED)]


def _asked(cpu: ReferenceCpu, first: int) -> Iterator[Leaf]:
    highest = _answer(cpu, first, 0)[0]
    for function in range(first, highest + 1):
        count = INDEXED.get(function, 0)
        for index in range(count or 1):
            flags = x86.CPUID_INDEX_SIGNIFICANT if count else 0
            yield Leaf(function, index, flags, *_answer(cpu, function, index))


def _answer(cpu: ReferenceCpu, function: int, index: int) -> list[int]:
    call(answer, cpu.core, function, index)
    return list(cpu.core.registers.files["told"])


def check_host(model: str, leaves: Iterable[Leaf], host: Iterable[Leaf]) -> None:
    """Raise `BimetalError`, with names, if ``leaves`` tell of what this host's KVM does not
    offer."""
    offered = list(host)
    missing = [
        name
        for name, feature in FEATURES.items()
        if name not in BY_KVM
        and any(leaf.has(feature) for leaf in leaves)
        and not any(leaf.has(feature) for leaf in offered)
    ]
    if missing:
        raise BimetalError(
            f"the processor {model} has {', '.join(missing)}, which this host's KVM does not offer",
            "choose another processor (--cpu help), or 'host'; programs of a machine that is "
            "restored may not expect it (--restore FILE --cpu host)",
            ExitCode.UNAVAILABLE,
        )
