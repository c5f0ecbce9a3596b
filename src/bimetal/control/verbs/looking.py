"""Verbs that look at machines."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from bimetal.base.late import late
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.qdev import name_in
from bimetal.control.verbs.registry import HOST, Domain

__all__ = [
    "DriveLine",
    "Facts",
    "domblklist",
    "domid",
    "dominfo",
    "domname",
    "domstate",
    "domuuid",
    "dumpjson",
    "dumpxml",
    "monitor_command",
    "ttyconsole",
]


@dataclass(frozen=True)
class Facts:
    """What there is to know of a machine: memory in KiB, time in seconds."""

    known: Known
    uuid: str
    cpus: int
    max_memory: int
    used_memory: int
    cpu_time: float
    autostart: bool = False
    sandbox: str = ""


@dataclass(frozen=True)
class DriveLine:
    """A drive: what it is called, and the image in it, or ""."""

    target: str
    source: str
    type: str
    device: str


@HOST.command("dominfo", safe=True)
def dominfo(machines: Machines, domain: Domain) -> Facts:
    """Tell of a machine: its state, CPUs and memory."""
    known = machines.find(domain)
    definition = machines.definition(known.name)
    used = whole = definition.memory >> 10
    if known.runs and definition.balloon:
        used = int(machines.ask(known.name, "query-balloon")["actual"]) >> 10
    time = _cpu_seconds(machines.places.pid(known.name)) if known.runs else 0.0
    starts = known.persistent and late("bimetal.control.autostart:Units")().starts(known.name)
    sandbox = str(machines.state_of(known.name).get("sandbox", "")) if known.runs else ""
    return Facts(known, str(definition.uuid), definition.cpus, whole, used, time, starts, sandbox)


@HOST.command("domstate", safe=True)
def domstate(machines: Machines, domain: Domain) -> Known:
    """Tell the state of a machine."""
    return machines.find(domain)


@HOST.command("domid", safe=True)
def domid(machines: Machines, domain: Domain) -> Known:
    """Tell the id of the run of a machine."""
    return machines.find(domain)


@HOST.command("domname", safe=True)
def domname(machines: Machines, domain: Domain) -> Known:
    """Tell the name of a machine."""
    return machines.find(domain)


@HOST.command("domuuid", safe=True)
def domuuid(machines: Machines, domain: Domain) -> str:
    """Tell the UUID of a machine."""
    return str(machines.definition(domain).uuid)


@HOST.command("ttyconsole", safe=True)
def ttyconsole(machines: Machines, domain: Domain) -> str:
    """Tell where the console of a machine is that runs."""
    known = machines.running(domain)
    return machines.console_of(known.name)


@HOST.command("domblklist", safe=True)
def domblklist(
    machines: Machines,
    domain: Domain,
    inactive: Annotated[bool, "those of the definition"] = False,
) -> list[DriveLine]:
    """List the drives of a machine, and the images in them."""
    known = machines.find(domain)
    definition = machines.definition(known.name, inactive=inactive)
    now: dict[str, str] = {}
    plugged: list[DriveLine] = []
    if known.runs and not inactive:
        for drive in machines.ask(known.name, "query-block"):
            file = drive.get("inserted", {}).get("file", "")
            now[drive["device"]] = file
            if not drive["device"]:
                plugged.append(DriveLine(name_in(drive["qdev"]), file, "file", "disk"))
    lines, counts = [], {"disk": 0, "cd": 0}
    for disk in definition.disks:
        kind = "cd" if disk.cdrom else "disk"
        source = now.get(f"{kind}{counts[kind]}", "" if now else disk.path)
        counts[kind] += 1
        where = "block" if source.startswith("/dev/") else "file"
        lines.append(DriveLine(disk.target, source, where, "cdrom" if disk.cdrom else "disk"))
    return lines + plugged


@HOST.command("dumpxml", safe=True)
def dumpxml(
    machines: Machines,
    domain: Domain,
    inactive: Annotated[bool, "what it will be started as the next time"] = False,
) -> str:
    """Tell the definition of a machine, as libvirt's domain XML."""
    return machines.xml(domain, inactive=inactive)


@HOST.command("dumpjson", safe=True)
def dumpjson(
    machines: Machines,
    domain: Domain,
    inactive: Annotated[bool, "what it will be started as the next time"] = False,
) -> str:
    """Tell the definition of a machine, as JSON."""
    definition = machines.definition(domain, inactive=inactive)
    return str(late("bimetal.control.json_form:write_json")(definition))


@HOST.command("qemu-monitor-command")
def monitor_command(
    machines: Machines,
    domain: Domain,
    cmd: Annotated[str, "the command: QMP, or with --hmp a line as people type it"],
    hmp: Annotated[bool, "as people type it at a monitor"] = False,
) -> Any:
    """Have a machine that runs carry out a command of its monitor; what it returns."""
    if hmp:
        return machines.ask(domain, "human-monitor-command", command_line=cmd)
    return {"return": machines.say(domain, cmd)}


def _cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
