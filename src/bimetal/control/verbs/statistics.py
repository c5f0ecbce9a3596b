"""The verb that tells figures of machines, from which others make graphs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bimetal.base.errors import BimetalError
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.qdev import name_in
from bimetal.control.verbs.registry import HOST

if TYPE_CHECKING:
    from bimetal.control.conversation import Conversation
    from bimetal.control.definition import Definition

__all__ = ["Figures", "domstats"]

Value = tuple[str, int | str]

STATES = {"running": 1, "paused": 3, "shut off": 5, "crashed": 6}
"""Numbers of states (libvirt's virDomainState)."""

PATIENCE = 1.0
"""Seconds for the answer of a machine that may be busy: the others are to be told of too."""


@dataclass(frozen=True)
class Figures:
    """Figures of a machine, by the names that virsh has for them: times in nanoseconds, memory in
    KiB, traffic in bytes."""

    name: str
    values: dict[str, int | str]


@HOST.command("domstats", safe=True)
def domstats(
    machines: Machines,
    domain: Annotated[str, "the machine, or all that run"] = "",
) -> list[Figures]:
    """Tell figures of a machine, or of all that run: the time of its CPUs, its memory, what its
    disks and NICs have moved."""
    found = [machines.find(domain)] if domain else [each for each in machines if each.runs]
    return [Figures(each.name, dict(_figures(machines, each))) for each in found]


def _figures(machines: Machines, known: Known) -> Iterator[Value]:
    yield "state.state", STATES.get(known.state, 0)
    try:
        definition = machines.definition(known.name)
    except BimetalError:  # it has just ended, or is forgotten
        return
    yield "vcpu.current", definition.cpus
    yield "balloon.maximum", definition.memory >> 10
    if not known.runs:
        return
    pid = machines.places.pid(known.name)
    yield from _of_process(pid)
    with suppress(BimetalError), machines.conversation(known.name, PATIENCE) as talk:
        yield from _of_memory(talk, definition)
        yield from _of_disks(talk, definition)
        yield from _of_nics(talk)


def _of_process(pid: int) -> Iterator[Value]:
    """What a process has used (proc(5))."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, system = (int(each) * 10**9 // os.sysconf("SC_CLK_TCK") for each in fields[11:13])
        yield "cpu.time", user + system
        yield "cpu.user", user
        yield "cpu.system", system
        yield "balloon.rss", int(fields[21]) * os.sysconf("SC_PAGE_SIZE") >> 10


def _of_memory(talk: Conversation, definition: Definition) -> Iterator[Value]:
    given = talk.ask("query-balloon")["actual"] if definition.balloon else definition.memory
    yield "balloon.current", given >> 10


def _of_disks(talk: Conversation, definition: Definition) -> Iterator[Value]:
    moved = {each["qdev"]: each["stats"] for each in talk.ask("query-blockstats")}
    drives = [drive for drive in talk.ask("query-block") if drive["qdev"] in moved]
    targets = {
        kind: [disk.target for disk in definition.disks if disk.cdrom == (kind == "cd")]
        for kind in ("disk", "cd")
    }
    yield "block.count", len(drives)
    for number, drive in enumerate(drives):
        kind = drive["device"].rstrip("0123456789")
        named = targets.get(kind)
        name = named.pop(0) if named else name_in(drive["qdev"])
        stats, inside = moved[drive["qdev"]], drive.get("inserted")
        yield f"block.{number}.name", name
        if inside is not None:
            yield f"block.{number}.path", inside["file"]
            yield f"block.{number}.capacity", inside["image"]["virtual-size"]
        for way in ("rd", "wr"):
            yield f"block.{number}.{way}.reqs", stats[f"{way}_operations"]
            yield f"block.{number}.{way}.bytes", stats[f"{way}_bytes"]


def _of_nics(talk: Conversation) -> Iterator[Value]:
    nics = talk.ask("bimetal-nics")
    yield "net.count", len(nics)
    for number, nic in enumerate(nics):
        yield f"net.{number}.name", nic["mac"]
        for way in ("rx", "tx"):
            yield f"net.{number}.{way}.bytes", nic[f"{way}-bytes"]
            yield f"net.{number}.{way}.pkts", nic[f"{way}-packets"]
