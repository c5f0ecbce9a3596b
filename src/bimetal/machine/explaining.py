"""Why a machine is slow: causes, with figures, from what was seen of it over a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from bimetal.base.sizes import MIB
from bimetal.machine.observing import Observation

__all__ = ["Cause", "Explanation", "explain"]

INTERPRETED_LEAST = 0.3
"""Share of instructions from which on it counts that they are interpreted."""

INSTRUCTIONS_LEAST = 100_000
"""Instructions below which the guest has done nothing."""

ACCESSES_LEAST = 2_000
"""Accesses to a device in a second: each takes some 20 microseconds."""

ACCESS_SECONDS = 20e-6
FLUSHES_LEAST = 20
"""Flushes of a disk in a second: one may take a host's disk ten milliseconds."""

LOSSES = ("code arenas emptied", "boxes emptied")
DECODED_LEAST = 300
"""Pages in a second whose code is looked at anew."""

SHARE_LEAST = 0.1
"""Share of the time from which on it counts that something else has it."""

PRESSURE_LEAST = 5.0
"""Percent of the time in which something has waited for memory."""

FAULTS_LEAST = 20
"""Pages in a second that have to be read from a disk."""

BUSY = 0.8
"""Share of the time for which a CPU counts as busy."""

LOOP_BYTES = 256
"""Bytes of code in which a CPU that waits in a loop stays."""

SAMPLES_LEAST = 4


class Cause(Struct, frozen=True):
    """A reason: its ``name``, what was seen, with figures, and what to do about it. ``share`` is
    how much of the time it takes, as far as that can be told, from 0 to 1."""

    name: str
    seen: str
    remedy: str
    share: float = 0.0


class Explanation(Struct, frozen=True):
    """Why a machine is slow: the causes that were found in so many seconds, the worst first; and
    what its CPUs did."""

    seconds: float
    causes: tuple[Cause, ...]
    doing: str

    def __str__(self) -> str:
        lines = [f"in {self.seconds:.1f} s: {self.doing}"]
        for cause in self.causes:
            lines += [f"{cause.name}: {cause.seen}", f"    {cause.remedy}"]
        if not self.causes:
            lines.append("nothing was found that would make it slow")
        return "\n".join(lines)


def explain(seen: Sequence[Observation]) -> Explanation:
    """The causes that follow from observations of a machine, two at least, the oldest first."""
    between = _Between(seen)
    found = [cause for look in LOOKS for cause in look(between)]
    found.sort(key=lambda cause: -cause.share)
    return Explanation(between.seconds, tuple(found), between.doing)


class _Between:
    """What has happened between the first observation and the last."""

    def __init__(self, seen: Sequence[Observation]):
        self.seen, self.first, self.last = seen, seen[0], seen[-1]
        self.seconds = max(self.last.seconds - self.first.seconds, 1e-3)
        pairs = zip(self.first.cpus, self.last.cpus, strict=True)
        self.worked = [(late.worked - early.worked) / self.seconds for early, late in pairs]
        pairs = zip(self.first.cpus, self.last.cpus, strict=True)
        self.waited = [(late.waited - early.waited) / self.seconds for early, late in pairs]

    def counts(self, who: str) -> Mapping[str, int]:
        """How much has been counted of one source."""
        early, late = self.first.counters.get(who, {}), self.last.counters.get(who, {})
        return {what: number - early.get(what, 0) for what, number in late.items()}

    def of_cpus(self, what: str) -> int:
        """The same of all CPUs, by what is counted."""
        return sum(
            self.counts(f"cpu{number}").get(what, 0) for number in range(len(self.last.cpus))
        )

    @property
    def doing(self) -> str:
        """What the CPUs have done."""
        if self.last.paused:
            return "the machine is paused"
        shares = ", ".join(
            f"cpu{number} {min(share, 1):.0%}" for number, share in enumerate(self.worked)
        )
        done = self.of_cpus("instructions")
        rate = f"; {done / self.seconds / 1e6:,.1f} million instructions a second" * bool(done)
        return f"the host worked for {shares} of the time{rate}"


def _kvm(between: _Between) -> Iterator[Cause]:
    why = next((each.no_kvm for each in between.seen if each.no_kvm), "")
    if why:
        engine = between.last.accel
        yield Cause(
            "no KVM",
            f"the accelerator is {engine}: {why}",
            "use a guest of the host's own kind if there is one; otherwise this is how it runs",
        )


def _interpreted(between: _Between) -> Iterator[Cause]:
    done = between.of_cpus("instructions")
    if done < INSTRUCTIONS_LEAST or between.last.accel == "kvm":
        return
    translated = between.of_cpus("translated (estimate)")
    share = 1 - min(translated / done, 1)
    if share < INTERPRETED_LEAST:
        return
    if between.last.accel != "jit":
        remedy = "start it with the accelerator jit, or auto"
    else:
        remedy = "wait: what is hot is translated, and kept for the next run (bimetal cache)"
    what = f"{share:.0%} of {done:,} instructions were interpreted"
    yield Cause("interpreted", what, remedy, share * max(between.worked, default=0))


def _thrash(between: _Between) -> Iterator[Cause]:
    lost = {what: count for what in LOSSES if (count := between.of_cpus(what))}
    decoded = between.of_cpus("pages decoded") / between.seconds
    if not lost and decoded < DECODED_LEAST:
        return
    told = [f"{count} {what}" for what, count in lost.items()]
    told.append(f"{decoded:,.0f} pages of code a second were looked at anew")
    compiled = between.counts(between.last.accel).get("regions compiled", 0)
    told.append(f"{compiled} regions were compiled")
    yield Cause(
        "thrashing code",
        ", ".join(told),
        "the guest writes to pages that it executes, or has more code than there is room for: "
        "see what it runs (--profile)",
        min(1.0, decoded / 10_000),
    )


def _exits(between: _Between) -> Iterator[Cause]:
    for device, count in between.counts("accesses").items():
        rate = count / between.seconds
        if rate >= ACCESSES_LEAST:
            share = min(1.0, rate * ACCESS_SECONDS)
            yield Cause(
                "exits",
                f"{device}: {rate:,.0f} accesses a second, some {share:.0%} of the time",
                "use a virtio device in its place, or have the guest ask less often",
                share,
            )


def _flushes(between: _Between) -> Iterator[Cause]:
    for disk, count in between.last.flushes.items():
        rate = (count - between.first.flushes.get(disk, 0)) / between.seconds
        if rate >= FLUSHES_LEAST:
            yield Cause(
                "disk flushes",
                f"{disk}: {rate:,.0f} flushes a second, each of which waits for the host's disk",
                "put the image on a faster disk, or have the guest flush less often",
                min(1.0, rate / 200),
            )


def _host(between: _Between) -> Iterator[Cause]:
    first, last = between.first.host, between.last.host
    whole = last.seconds - first.seconds
    stolen = (last.stolen - first.stolen) / whole if whole > 0 else 0.0
    if stolen >= SHARE_LEAST:
        yield Cause(
            "steal time",
            f"{stolen:.0%} of the time of this host's processors went to other machines",
            "this host is a machine itself: have it given more processor time",
            stolen,
        )
    for number, waited in enumerate(between.waited):
        if waited >= SHARE_LEAST:
            yield Cause(
                "busy host",
                f"cpu{number} waited {min(waited, 1):.0%} of the time for a processor of the host",
                "end other programs, or give the machine fewer CPUs",
                min(waited, 1.0),
            )


def _cpus(between: _Between) -> Iterator[Cause]:
    count, there = len(between.last.cpus), between.last.host.cpus
    if count > there:
        yield Cause(
            "more CPUs than processors",
            f"{count} CPUs share {there} of the host's processors, and wait for each other's locks",
            f"give the machine {there} CPUs",
            0.1,
        )


def _memory(between: _Between) -> Iterator[Cause]:
    first, last = between.first.host, between.last.host
    faults = (last.faults - first.faults) / between.seconds
    signs = [
        f"programs of the host waited for memory in {last.memory_pressure:.0f}% of the time"
    ] * (last.memory_pressure >= PRESSURE_LEAST)
    signs += [f"{last.swapped // MIB} MiB of the machine are in swap"] * (last.swapped >= MIB)
    signs += [f"{faults:,.0f} pages a second were read back"] * (faults >= FAULTS_LEAST)
    if signs:
        yield Cause(
            "memory pressure",
            f"{', '.join(signs)}; {last.resident // MIB} MiB are in memory",
            "end other programs, or give the machine less memory (setmem, with a balloon)",
            max(last.memory_pressure / 100, min(1.0, faults / 1000)),
        )


def _spinning(between: _Between) -> Iterator[Cause]:
    if between.last.paused or len(between.seen) < SAMPLES_LEAST:
        return
    for number, share in enumerate(between.worked):
        places = [each.cpus[number].pc for each in between.seen]
        if share + between.waited[number] >= BUSY and max(places) - min(places) <= LOOP_BYTES:
            yield Cause(
                "spinning guest",
                f"cpu{number} executes between {min(places):#x} and {max(places):#x} all the time",
                "the guest waits in a loop, for a lock or a device: it is not the host's fault",
                share,
            )


LOOKS: Sequence[Callable[[_Between], Iterator[Cause]]] = (
    _kvm,
    _interpreted,
    _thrash,
    _exits,
    _flushes,
    _host,
    _cpus,
    _memory,
    _spinning,
)
