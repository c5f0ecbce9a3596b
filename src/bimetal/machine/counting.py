"""What the parts of a machine have counted, in one table."""

from __future__ import annotations

from collections import Counter

from bimetal.machine.runner import Runner
from bimetal.seam import Counted

__all__ = ["counters_of"]


def counters_of(runner: Runner) -> dict[str, dict[str, int]]:
    """See `Machine.counters`. Who has counted nothing is left out."""
    found: dict[str, dict[str, int]] = {}
    for vcpu in runner.vcpus:
        found[f"cpu{vcpu.index} exits"] = dict(vcpu.exits.most_common())
        found[f"cpu{vcpu.index}"] = _counted(vcpu.cpu)
    found[runner.accelerator.name] = _counted(runner.accelerator)
    # CPUs go on counting: a copy is made at once, a sum is not.
    accesses = Counter(dict(runner.bus.accesses))
    accesses.update(dict(runner.ports.accesses))
    found["accesses"] = dict(accesses.most_common())
    return {who: counts for who, counts in found.items() if counts}


def _counted(source: object) -> dict[str, int]:
    return dict(source.counters) if isinstance(source, Counted) else {}
