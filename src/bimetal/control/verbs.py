"""What is done with machines that stay: commands like those for a machine that runs (`commands`),
whose words are virsh's."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.machines import Known, Machines
from bimetal.control.registry import Registry

__all__ = ["HOST", "Defined", "DriveLine", "Facts"]

HOST = Registry[Machines]("host")

Domain = Annotated[str, "the machine: its name, UUID, or the id of its run"]
File = Annotated[str, "the path of a file"]


@dataclass(frozen=True)
class Facts:
    """What there is to know of a machine: memory in KiB, time in seconds."""

    known: Known
    uuid: str
    cpus: int
    max_memory: int
    used_memory: int
    cpu_time: float


@dataclass(frozen=True)
class Defined:
    """A machine that was defined, and what of its definition has no effect here."""

    name: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DriveLine:
    """A drive: what it is called, and the image in it, or ""."""

    target: str
    source: str
    type: str
    device: str


@HOST.command("list")
def list_(
    machines: Machines,
    all: Annotated[bool, "those that do not run too"] = False,
    inactive: Annotated[bool, "only those that do not run"] = False,
    state_running: Annotated[bool, "only those that execute"] = False,
    state_paused: Annotated[bool, "only those that are stopped"] = False,
    state_shutoff: Annotated[bool, "only those that are off"] = False,
    persistent: Annotated[bool, "only those that are defined"] = False,
    transient: Annotated[bool, "only those that are not defined"] = False,
) -> list[Known]:
    """List the machines that run, or all of them."""
    states = {
        state
        for state, wanted in {
            "running": state_running,
            "paused": state_paused,
            "shut off": state_shutoff,
        }.items()
        if wanted
    }
    return [
        each
        for each in machines
        if (all or each.runs != inactive or "shut off" in states)
        and (not states or each.state in states)
        and (not persistent or each.persistent)
        and (not transient or not each.persistent)
    ]


@HOST.command("define")
def define(machines: Machines, file: File) -> Defined:
    """Define a machine by libvirt's domain XML in a file. What has no effect here is said. One
    that is there already, of that name and UUID, gets the new definition at its next start."""
    definition = machines.define(_content(file))
    return Defined(definition.name, definition.notes)


@HOST.command("undefine")
def undefine(
    machines: Machines,
    domain: Domain,
    nvram: Annotated[bool, "remove the file with the variables of its firmware too"] = False,
) -> Known:
    """Forget the definition of a machine. Its disks stay. If it runs, it runs on."""
    known = machines.find(domain)
    flash = machines.definition(domain, inactive=True).flash if nvram else ()
    if known.runs and nvram:
        raise BimetalError(
            f"{known.name} runs and uses its variables", "end it first", ExitCode.USAGE
        )
    known = machines.undefine(known.name)
    for path in flash[1:]:
        Path(path).unlink(missing_ok=True)
    return known


@HOST.command("create")
def create(
    machines: Machines,
    file: File,
    paused: Annotated[bool, "with its CPUs stopped"] = False,
) -> Known:
    """Start a machine by the definition in a file, which is not kept."""
    return machines.create(_content(file), paused=paused)


@HOST.command("start")
def start(
    machines: Machines,
    domain: Domain,
    paused: Annotated[bool, "with its CPUs stopped"] = False,
) -> Known:
    """Start a machine that is defined."""
    return machines.start(domain, paused=paused)


@HOST.command("shutdown")
def shutdown(
    machines: Machines,
    domain: Domain,
    mode: Annotated[Literal["acpi"], "how: by the power button"] = "acpi",
) -> Known:
    """Press the power button, which asks the guest to shut down. Whether it does is up to it."""
    machines.ask(domain, "system_powerdown")
    return machines.find(domain)


@HOST.command("reboot")
def reboot(machines: Machines, domain: Domain) -> Known:
    """Press the power button, and start the machine again once the guest has switched off."""
    machines.ask(domain, "bimetal-reboot")
    return machines.find(domain)


@HOST.command("reset")
def reset(machines: Machines, domain: Domain) -> Known:
    """Press the reset button: the guest starts again."""
    machines.ask(domain, "system_reset")
    return machines.find(domain)


@HOST.command("destroy")
def destroy(
    machines: Machines,
    domain: Domain,
    graceful: Annotated[bool, "do not kill a process that does not end"] = False,
) -> Known:
    """End a machine at once, as if the power were cut."""
    return machines.destroy(domain, graceful=graceful)


@HOST.command("suspend")
def suspend(machines: Machines, domain: Domain) -> Known:
    """Stop the CPUs and the time of a guest."""
    machines.ask(domain, "stop")
    return machines.find(domain)


@HOST.command("resume")
def resume(machines: Machines, domain: Domain) -> Known:
    """Let a machine go on that was suspended."""
    machines.ask(domain, "cont")
    return machines.find(domain)


@HOST.command("save")
def save(machines: Machines, domain: Domain, file: File) -> Known:
    """Save the whole state of a machine to a file, and end it."""
    return machines.save(domain, file)


@HOST.command("restore")
def restore(
    machines: Machines,
    file: File,
    paused: Annotated[bool, "with its CPUs stopped"] = False,
    trust: Annotated[bool, "also one that reaches folders, ports or sockets of the host"] = False,
) -> Known:
    """Go on with a machine that was saved to a file."""
    return machines.restore(file, trust=trust, paused=paused)


@HOST.command("dominfo")
def dominfo(machines: Machines, domain: Domain) -> Facts:
    """Tell of a machine: its state, CPUs and memory."""
    known = machines.find(domain)
    definition = machines.definition(known.name)
    used = whole = definition.memory >> 10
    if known.runs and definition.balloon:
        used = int(machines.ask(known.name, "query-balloon")["actual"]) >> 10
    time = _cpu_seconds(machines.places.pid(known.name)) if known.runs else 0.0
    return Facts(known, str(definition.uuid), definition.cpus, whole, used, time)


@HOST.command("domstate")
def domstate(machines: Machines, domain: Domain) -> Known:
    """Tell the state of a machine."""
    return machines.find(domain)


@HOST.command("domid")
def domid(machines: Machines, domain: Domain) -> Known:
    """Tell the id of the run of a machine."""
    return machines.find(domain)


@HOST.command("domname")
def domname(machines: Machines, domain: Domain) -> Known:
    """Tell the name of a machine."""
    return machines.find(domain)


@HOST.command("domuuid")
def domuuid(machines: Machines, domain: Domain) -> str:
    """Tell the UUID of a machine."""
    return str(machines.definition(domain).uuid)


@HOST.command("ttyconsole")
def ttyconsole(machines: Machines, domain: Domain) -> str:
    """Tell where the console of a machine is that runs."""
    known = machines.running(domain)
    return machines.console_of(known.name)


@HOST.command("domblklist")
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
                plugged.append(DriveLine(drive["qdev"].rpartition("/")[2], file, "file", "disk"))
    lines, counts = [], {"disk": 0, "cd": 0}
    for disk in definition.disks:
        kind = "cd" if disk.cdrom else "disk"
        source = now.get(f"{kind}{counts[kind]}", "" if now else disk.path)
        counts[kind] += 1
        where = "block" if source.startswith("/dev/") else "file"
        lines.append(DriveLine(disk.target, source, where, "cdrom" if disk.cdrom else "disk"))
    return lines + plugged


@HOST.command("dumpxml")
def dumpxml(
    machines: Machines,
    domain: Domain,
    inactive: Annotated[bool, "what it will be started as the next time"] = False,
) -> str:
    """Tell the definition of a machine, as libvirt's domain XML."""
    return machines.xml(domain, inactive=inactive)


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


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BimetalError(
            f"Failed to open file '{path}': {error.strerror}", "", ExitCode.NO_INPUT
        ) from error


def _cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
