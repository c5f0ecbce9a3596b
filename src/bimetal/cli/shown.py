"""What is printed of what verbs return: virsh's lines and columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bimetal.cli.columns import Given, Shown, message, said, table
from bimetal.cli.shown_backups import BACKUPS
from bimetal.cli.shown_storage import STORAGE
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs import (
    AddressLine,
    BlockFigures,
    BlockRoom,
    BoardLine,
    DriveLine,
    Facts,
    Figures,
    KeptLine,
    NetworkLine,
    NicLine,
    Node,
    Undefined,
)

__all__ = ["SHOWN"]


def listed(machines: Sequence[Known], given: Given) -> str:
    fields = [name for name in ("id", "uuid", "name") if given[name]]
    if fields:
        return "".join(_fields(each, fields) + "\n" for each in machines)
    shown = [("saved" if given["managed_save"] and each.saved else each.state) for each in machines]
    columns = {
        "Id": [str(each.id or "-") for each in machines],
        "Name": [each.name for each in machines],
        "State": shown,
    }
    if given["title"]:
        columns["Title"] = [_title(each.name) for each in machines]
    return table([*columns], [*zip(*columns.values(), strict=True)], quiet=given["quiet"])


def _fields(known: Known, fields: Sequence[str]) -> str:
    """What a script asks for of a machine."""
    found = {"id": str(known.id or "-"), "name": known.name, "uuid": ""}
    if "uuid" in fields:
        found["uuid"] = str(Machines().definition(known.name, inactive=True).uuid)
    return " ".join(found[name] for name in fields)


def _title(name: str) -> str:
    return Machines().definition(name, inactive=True).title


def room_of(room: BlockRoom, given: Given) -> str:
    values = {"Capacity": room.capacity, "Allocation": room.allocation, "Physical": room.physical}
    return "".join(f"{name + ':':15} {value}\n" for name, value in values.items())


def moved_of(figures: BlockFigures, given: Given) -> str:
    return "".join(f"{figures.target} {name} {value}\n" for name, value in figures.values.items())


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
        "Autostart": "enable" if facts.autostart else "disable",
        "Managed save": "yes" if known.saved else "no",
        "Security model": facts.sandbox or "none",
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


def boards_of(found: Sequence[BoardLine], given: Given) -> str:
    rows = [(each.name, each.isa, each.summary) for each in found]
    return table(("Board", "CPUs", "What it is"), rows, quiet=given["quiet"])


def figures_of(found: Sequence[Figures], given: Given) -> str:
    lines = []
    for each in found:
        lines += [f"Domain: {each.name!r}", *(f"  {k}={v}" for k, v in each.values.items()), ""]
    return "".join(f"{line}\n" for line in lines)


def kept_of(kept: Sequence[KeptLine], given: Given) -> str:
    rows = [(each.name, each.made, each.state) for each in kept]
    return table(("Name", "Creation Time", "State"), rows, quiet=given["quiet"])


def nics_of(nics: Sequence[NicLine], given: Given) -> str:
    rows = [(each.name or "-", each.type, each.source or "-", each.model, each.mac)
            for each in nics]  # fmt: skip
    return table(("Interface", "Type", "Source", "Model", "MAC"), rows, quiet=given["quiet"])


def addresses_of(found: Sequence[AddressLine], given: Given) -> str:
    lines = [f" {'Name':10} {'MAC address':20} {'Protocol':12} Address", "-" * 79]
    rows = [f" {each.name:10} {each.mac:20} {each.protocol:12} {each.address}" for each in found]
    return "".join(f"{line}\n" for line in [*([] if given["quiet"] else lines), *rows])


def networks_of(networks: Sequence[NetworkLine], given: Given) -> str:
    if given["name"]:
        return "".join(f"{each.name}\n" for each in networks)
    rows = [(each.name, each.state, yes(each.autostart), yes(each.persistent)) for each in networks]
    return table(("Name", "State", "Autostart", "Persistent"), rows, quiet=given["quiet"])


def yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def node_of(node: Node, given: Given) -> str:
    lines = {
        "CPU model": node.model,
        "CPU(s)": str(node.cpus),
        "CPU frequency": f"{node.frequency} MHz",
        "CPU socket(s)": str(node.sockets),
        "Core(s) per socket": str(node.cores),
        "Thread(s) per core": str(node.threads),
        "NUMA cell(s)": "1",
        "Memory size": f"{node.memory} KiB",
    }
    return "".join(f"{name + ':':20} {value}\n" for name, value in lines.items())


def unsaved_of(known: Known, given: Given) -> str:
    if known.saved:
        return f"Removed managedsave image for domain {known.name!r}\n"
    return f"Domain {known.name!r} has no manage save image; removal skipped\n"


def autostart_of(known: Known, given: Given) -> str:
    return f"Domain {known.name!r} {'un' * given['disable']}marked as autostarted\n"


def undefined_of(gone: Undefined, given: Given) -> str:
    return "".join(f"{line}\n" for line in
                   (f"Domain {gone.name!r} has been undefined", *gone.volumes))  # fmt: skip


def answer_of(answer: Any, given: Given) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer) + "\n"


SHOWN: Mapping[str, Shown] = {
    **BACKUPS,
    **STORAGE,
    "list": Shown(
        listed,
        {
            "name": "only the names",
            "id": "only the ids",
            "uuid": "only the UUIDs",
            "title": "the titles, too",
            "managed-save": "call those 'saved' whose next start goes on where they were",
            "table": "accepted: it is a table",
        },
    ),
    "define": Shown(
        lambda new, given: f"Domain {new.name!r} defined from {given['file']}\n", {}, True
    ),
    "undefine": Shown(undefined_of, {}, True),
    "managedsave": said("\nDomain {} state saved by libvirt"),
    "managedsave-remove": Shown(unsaved_of, {}, True),
    "autostart": Shown(autostart_of, {}, True),
    "domrename": message("Domain successfully renamed"),
    "setvcpus": Shown(lambda nothing, given: ""),
    "nodeinfo": Shown(node_of),
    "hostname": Shown(lambda text, given: f"{text}\n"),
    "uri": Shown(lambda text, given: f"{text}\n"),
    "capabilities": Shown(lambda text, given: text),
    "domcapabilities": Shown(lambda text, given: text),
    "domiflist": Shown(nics_of),
    "domifaddr": Shown(addresses_of),
    "net-list": Shown(networks_of, {"name": "only the names"}),
    "attach-interface": message("Interface attached successfully"),
    "detach-interface": message("Interface detached successfully"),
    "attach-device": message("Device attached successfully"),
    "detach-device": message("Device detached successfully"),
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
    "boards": Shown(boards_of),
    "change-media": Shown(lambda done, given: f"Successfully {done} media.\n", {}, True),
    "attach-disk": Shown(lambda target, given: "Disk attached successfully\n", {}, True),
    "detach-disk": Shown(lambda target, given: "Disk detached successfully\n", {}, True),
    "snapshot-create-as": Shown(lambda name, given: f"Domain snapshot {name} created\n", {}, True),
    "snapshot-dumpxml": Shown(lambda text, given: text),
    "snapshot-list": Shown(kept_of),
    "snapshot-revert": Shown(lambda name, given: f"Domain snapshot {name} reverted\n", {}, True),
    "snapshot-delete": Shown(lambda name, given: f"Domain snapshot {name} deleted\n", {}, True),
    "explain": Shown(lambda reasons, given: f"{reasons.text}\n"),
    "screenshot": message("Screenshot saved to {}, with type of image/png"),
    "send-key": Shown(lambda nothing, given: ""),
    "domdisplay": Shown(lambda uri, given: f"{uri}\n"),
    "blockresize": message("Block device '{}' is resized"),
    "blockcommit": message("{}"),
    "blockpull": message("{}"),
    "blockcopy": message("{}"),
    "blockjob": Shown(lambda told, given: f"{told}\n" if told else ""),
    "domblkinfo": Shown(room_of),
    "domif-setlink": message("Device updated successfully"),
    "domif-getlink": Shown(lambda line, given: f"{line.name} {line.state}\n"),
    "domblkstat": Shown(moved_of),
    "setmem": Shown(lambda nothing, given: ""),
    "install": said("Domain {} is running"),
    "vncdisplay": Shown(lambda where, given: f"{where}\n"),
    "qemu-monitor-command": Shown(answer_of),
}
"""For each verb, how its result is printed."""
