"""Verbs that define machines, start and end them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal

from bimetal.base.errors import BimetalError
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.documents import read_document
from bimetal.control.verbs.registry import HOST, Document, Domain, File

__all__ = [
    "Defined",
    "create",
    "define",
    "destroy",
    "reboot",
    "reset",
    "restore",
    "resume",
    "save",
    "shutdown",
    "start",
    "suspend",
]

Sandbox = Annotated[Literal["on", "off"], "whether its process is confined to what it needs"]


@dataclass(frozen=True)
class Defined:
    """A machine that was defined, and what of its definition has no effect here."""

    name: str
    notes: tuple[str, ...]


@HOST.command("define")
def define(machines: Machines, file: Document) -> Defined:
    """Define a machine by libvirt's domain XML in a file. What has no effect here is said. One
    that is there already, of that name and UUID, gets the new definition at its next start."""
    definition = machines.define(read_document(file))
    return Defined(definition.name, definition.notes)


@HOST.command("create")
def create(
    machines: Machines,
    file: Document,
    paused: Annotated[bool, "with its CPUs stopped"] = False,
    sandbox: Sandbox = "on",
) -> Known:
    """Start a machine by the definition in a file, which is not kept."""
    return machines.create(read_document(file), paused=paused, sandbox=sandbox == "on")


@HOST.command("start")
def start(
    machines: Machines,
    domain: Domain,
    paused: Annotated[bool, "with its CPUs stopped"] = False,
    force_boot: Annotated[bool, "from the beginning, though its state was saved"] = False,
    sandbox: Sandbox = "on",
    incoming: Annotated[
        str, "wait for it to come from elsewhere: tcp:HOST:PORT or unix:PATH, see migrate"
    ] = "",
) -> Known:
    """Start a machine that is defined, or let it go on whose state was saved."""
    return machines.start(
        domain, paused=paused, anew=force_boot, sandbox=sandbox == "on", incoming=incoming
    )


@HOST.command("shutdown")
def shutdown(
    machines: Machines,
    domain: Domain,
    mode: Annotated[Literal["acpi"], "how: by the power button"] = "acpi",
) -> Known:
    """Press the power button, which asks the guest to shut down. Whether it does is up to it."""
    return _told(machines, domain, "system_powerdown")


@HOST.command("reboot")
def reboot(machines: Machines, domain: Domain) -> Known:
    """Press the power button, and start the machine again once the guest has switched off."""
    return _told(machines, domain, "bimetal-reboot")


@HOST.command("reset")
def reset(machines: Machines, domain: Domain) -> Known:
    """Press the reset button: the guest starts again."""
    return _told(machines, domain, "system_reset")


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
    return _told(machines, domain, "stop")


@HOST.command("resume")
def resume(machines: Machines, domain: Domain) -> Known:
    """Let a machine go on that was suspended."""
    return _told(machines, domain, "cont")


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
    sandbox: Sandbox = "on",
) -> Known:
    """Go on with a machine that was saved to a file."""
    return machines.restore(file, trust=trust, paused=paused, sandbox=sandbox == "on")


def _told(machines: Machines, domain: str, command: str) -> Known:
    """Have a machine carry out a command; how it is then, or how it was if it has ended since."""
    known = machines.running(domain)
    machines.ask(known.name, command)
    with suppress(BimetalError):
        return machines.find(known.name)
    return known
