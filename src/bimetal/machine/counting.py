"""What the parts of a machine have counted, and a report of it with times and events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from bimetal.machine.runner import Runner
from bimetal.seam import Counted

__all__ = ["Stats", "counters_of", "stats_of"]

Counts = Mapping[str, Mapping[str, int]]


class Stats(Struct, frozen=True):
    """What a run has cost so far; ``str()`` of it is a report.

    ``seconds`` is the machine's time, ``counters`` are as `Machine.counters` gives them, and
    ``events`` counts errors that did not end the run, mostly the guest's, by where they were
    noticed.
    """

    seconds: float
    counters: Counts
    events: Counts

    def __str__(self) -> str:
        lines = [f"machine time {self.seconds:.3f} s"]
        for who, counts in self.counters.items():
            lines.append(f"{who}: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
        for who, counts in self.events.items():
            lines += [f"{who}: {count} x {what}" for what, count in counts.items()]
        return "\n".join(lines)


def stats_of(runner: Runner) -> Stats:
    """See `Machine.stats`."""
    sources = [runner.bus.events, runner.ports.events]
    sources += [*(vcpu.events for vcpu in runner.vcpus), runner.hosting.events]
    sources += [placement.device.events for placement in runner.hardware.placements]
    with runner.locked():
        events = {each.source: dict(each.counts) for each in sources if each.counts}
    return Stats(runner.clock.now_ns() / 1e9, counters_of(runner), events)


def counters_of(runner: Runner) -> dict[str, dict[str, int]]:
    """See `Machine.counters`. Sources without counts are left out."""
    found: dict[str, dict[str, int]] = {}
    for vcpu in runner.vcpus:
        found[f"cpu{vcpu.index} exits"] = {
            kind.__name__: count for kind, count in vcpu.exits.most_common()
        }
        found[f"cpu{vcpu.index}"] = _counted(vcpu.cpu)
    found[runner.accelerator.name] = _counted(runner.accelerator)
    # CPUs keep counting meanwhile: copying is atomic, adding is not.
    accesses = Counter(dict(runner.bus.accesses))
    accesses.update(dict(runner.ports.accesses))
    found["accesses"] = dict(accesses.most_common())
    return {who: counts for who, counts in found.items() if counts}


def _counted(source: object) -> dict[str, int]:
    return dict(source.counters) if isinstance(source, Counted) else {}
