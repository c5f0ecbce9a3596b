"""What is printed of what verbs return: virsh's lines and columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bimetal.control.machines import Known
from bimetal.control.verbs import DriveLine, Facts, Figures, KeptLine

__all__ = ["SHOWN", "Shown"]

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """How the result of a verb is printed: by ``show``, given the arguments too. ``flags`` are
    options that change only that, with what they mean. A ``message`` is not printed to who wants
    quiet."""

    show: Callable[[Any, Given], str]
    flags: Mapping[str, str] = field(default_factory=dict)
    message: bool = False


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, quiet: bool) -> str:
    """Columns, the first line of which is ``head``."""
    shown = [*rows] if quiet else [head, *rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        " "
        + "   ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    if not quiet:
        lines.insert(1, "-" * sum(width + 3 for width in widths))
    return "\n".join(lines) + "\n"


def said(text: str) -> Shown:
    """A message about a machine, whose name it has in the place of ``{}``."""
    return Shown(lambda known, given: text.format(repr(known.name), **given) + "\n", message=True)


def listed(machines: Sequence[Known], given: Given) -> str:
    if given["name"]:
        return "".join(f"{each.name}\n" for each in machines)
    if given["id"]:
        return "".join(f"{each.id}\n" for each in machines if each.runs)
    rows = [(str(each.id or "-"), each.name, each.state) for each in machines]
    return table(("Id", "Name", "State"), rows, quiet=given["quiet"])


def state_of(known: Known, given: Given) -> str:
    return f"{known.state} ({known.reason})\n" if given["reason"] else f"{known.state}\n"


def facts_of(facts: Facts, given: Given) -> str:
    known = facts.known
    lines = {
        "Id": str(known.id or "-"),
        "Name": known.name,
        "UUID": facts.uuid,
        "OS Type": "hvm",
        "State": known.state,
        "CPU(s)": str(facts.cpus),
        "CPU time": f"{facts.cpu_time:.1f}s",
        "Max memory": f"{facts.max_memory} KiB",
        "Used memory": f"{facts.used_memory} KiB",
        "Persistent": "yes" if known.persistent else "no",
        "Autostart": "disable",
        "Managed save": "no",
        "Security model": "none",
        "Security DOI": "0",
    }
    if not known.runs:
        del lines["CPU time"]
    return "".join(f"{name + ':':15} {value}\n" for name, value in lines.items())


def drives_of(drives: Sequence[DriveLine], given: Given) -> str:
    rows = [(each.target, each.source or "-") for each in drives]
    if given["details"]:
        full = [(each.type, each.device, *row) for each, row in zip(drives, rows, strict=True)]
        return table(("Type", "Device", "Target", "Source"), full, quiet=given["quiet"])
    return table(("Target", "Source"), rows, quiet=given["quiet"])


def figures_of(found: Sequence[Figures], given: Given) -> str:
    lines = []
    for each in found:
        lines += [f"Domain: {each.name!r}", *(f"  {k}={v}" for k, v in each.values.items()), ""]
    return "".join(f"{line}\n" for line in lines)


def kept_of(kept: Sequence[KeptLine], given: Given) -> str:
    rows = [(each.name, each.made, "running") for each in kept]
    return table(("Name", "Creation Time", "State"), rows, quiet=given["quiet"])


def answer_of(answer: Any, given: Given) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer) + "\n"


SHOWN: Mapping[str, Shown] = {
    "list": Shown(listed, {"name": "only the names", "id": "only the ids of those that run"}),
    "define": Shown(
        lambda new, given: f"Domain {new.name!r} defined from {given['file']}\n", {}, True
    ),
    "undefine": said("Domain {} has been undefined"),
    "create": Shown(
        lambda known, given: f"Domain {known.name!r} created from {given['file']}\n", {}, True
    ),
    "start": said("Domain {} started"),
    "shutdown": said("Domain {} is being shutdown"),
    "reboot": said("Domain {} is being rebooted"),
    "reset": said("Domain {} was reset"),
    "destroy": said("Domain {} destroyed"),
    "suspend": said("Domain {} suspended"),
    "resume": said("Domain {} resumed"),
    "save": said("Domain {} saved to {file}"),
    "restore": Shown(lambda known, given: f"Domain restored from {given['file']}\n", {}, True),
    "dominfo": Shown(facts_of),
    "domstate": Shown(state_of, {"reason": "why it is in that state, too"}),
    "domid": Shown(lambda known, given: f"{known.id or '-'}\n"),
    "domname": Shown(lambda known, given: f"{known.name}\n"),
    "domuuid": Shown(lambda uuid, given: f"{uuid}\n"),
    "ttyconsole": Shown(lambda where, given: f"{where}\n"),
    "domblklist": Shown(drives_of, {"details": "what kind of drive and source each is, too"}),
    "domstats": Shown(figures_of),
    "dumpxml": Shown(lambda text, given: text),
    "dumpjson": Shown(lambda text, given: text),
    "change-media": Shown(lambda done, given: f"Successfully {done} media.\n", {}, True),
    "attach-disk": Shown(lambda target, given: "Disk attached successfully\n", {}, True),
    "detach-disk": Shown(lambda target, given: "Disk detached successfully\n", {}, True),
    "snapshot-create-as": Shown(lambda name, given: f"Domain snapshot {name} created\n", {}, True),
    "snapshot-list": Shown(kept_of),
    "snapshot-revert": Shown(lambda name, given: f"Domain snapshot {name} reverted\n", {}, True),
    "snapshot-delete": Shown(lambda name, given: f"Domain snapshot {name} deleted\n", {}, True),
    "setmem": Shown(lambda nothing, given: ""),
    "qemu-monitor-command": Shown(answer_of),
}
"""For each verb, how its result is printed."""
