"""The verb that says why a machine is slow."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

if TYPE_CHECKING:
    from bimetal.machine.explaining import Explanation

__all__ = ["Reason", "Reasons", "explain"]

SAMPLES = 10
SECONDS_MOST = 60.0


@dataclass(frozen=True)
class Reason:
    """A cause: its name, what was seen, what to do about it, and how much of the time it takes, as
    far as that can be told, from 0 to 1."""

    name: str
    seen: str
    remedy: str
    share: float


@dataclass(frozen=True)
class Reasons:
    """What was seen of a machine in so many seconds: what its CPUs did, and the causes of its being
    slow, the worst first; and all of that as a text."""

    seconds: float
    doing: str
    causes: tuple[Reason, ...]
    text: str


@HOST.command("explain", safe=True)
def explain(
    machines: Machines,
    domain: Domain,
    seconds: Annotated[str, "how long to look at it"] = "2",
) -> Reasons:
    """Say why a machine is slow: no KVM, interpreted code, exits, flushes, the host, the guest."""
    duration = _seconds(seconds)
    observation = late("bimetal.machine.observing:Observation")
    seen = []
    with machines.conversation(domain) as talk:
        for number in range(SAMPLES + 1):
            if number:
                threading.Event().wait(duration / SAMPLES)
            told = talk.ask("bimetal-observe", whole=not number)
            seen.append(late("msgspec:convert")(told, observation))
    found: Explanation = late("bimetal.machine.explaining:explain")(seen)
    causes = (Reason(each.name, each.seen, each.remedy, each.share) for each in found.causes)
    return Reasons(found.seconds, found.doing, tuple(causes), str(found))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= SECONDS_MOST:
        raise BimetalError(
            f"{text[:40]!r} is no number of seconds", f"up to {SECONDS_MOST:g}", ExitCode.USAGE
        )
    return seconds
