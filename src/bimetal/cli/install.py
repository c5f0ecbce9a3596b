"""``bimetal install``, and the program ``bimetal-virt-install``: a new machine, in virt-install's
words."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from bimetal import BimetalError, ExitCode
from bimetal.cli.options import OnceEach
from bimetal.control.domain_xml.writing import write_definition
from bimetal.control.installing.carrying_out import (
    carry_out,
    first_start,
    folder_of,
    forget_first_start,
)
from bimetal.control.installing.firmware import firmware_of_catalogue
from bimetal.control.installing.osinfo import system_names
from bimetal.control.installing.planning import Plan, Wanted, plan
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs import HOST

__all__ = ["command"]

LIST = "list"
FOR_EVER = 1e9
"""Seconds."""

VIRT_TYPES = {"": "", "kvm": "kvm", "qemu": "jit"}


def _option(*names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, default=more.pop("default", ""), **more)


@click.command("install", cls=OnceEach)
@_option("-n", "--name", help="What to call it.")
@_option("--memory", "--ram", "-r", metavar="MIB", help="Its memory.")
@_option("--vcpus", metavar="N", help="How many CPUs it has.")
@_option("--cpu", metavar="MODEL", help="The model of its processor.")
@_option("--arch", help="Its instruction set; otherwise that which the media start.")
@_option("--machine", help="The kind of machine, such as virt.")
@_option("--virt-type", type=click.Choice([*VIRT_TYPES]), help="kvm, or qemu for our translator.")
@_option("--uuid", help="Its identity.")
@_option("--metadata", metavar="title=TEXT", help="A title.")
@click.option(
    "--disk",
    multiple=True,
    metavar="size=GIB|PATH|...",
    help="A disk; may be repeated. Words: size, path, format, bus, backing_store, readonly, "
    "device, serial.",
)
@_option("-c", "--cdrom", metavar="FILE", help="The media to install from.")
@_option("-l", "--location", metavar="FOLDER|FILE|URL", help="An installer's tree, or its image.")
@_option("-x", "--extra-args", metavar="WORDS", help="More words for the installer's kernel.")
@click.option("--import", "is_import", is_flag=True, help="Start what is on its first disk.")
@_option("--boot", metavar="kernel=,initrd=,cmdline=,uefi,loader=", help="What it starts.")
@click.option("-w", "--network", multiple=True, metavar="user|bridge=NAME|...", help="A NIC.")
@_option("--graphics", metavar="vnc|none", help="A screen [none: the console is a serial line].")
@_option("--video", metavar="virtio|ramfb", help="The device that draws on it.")
@click.option("--input", "inputs", multiple=True, metavar="keyboard|tablet|mouse[,bus=usb]",
              help="What people type or point with; may be repeated.")  # fmt: skip
@click.option("--controller", "controllers", multiple=True, metavar="usb[,model=qemu-xhci|none]",
              help="A USB controller, whatever is on it.")  # fmt: skip
@_option("--console", metavar="pty", help="As --serial.")
@_option("--serial", metavar="pty|file,path=|unix,path=", help="Where the console leads.")
@_option("--osinfo", "--os-variant", metavar="NAME", help="The system; 'list' lists them.")
@_option("--os-type", metavar="KIND", help="Accepted: the variant says more.")
@click.option("--cloud-init", is_flag=False, flag_value="", default=None, metavar="WORDS",
              help="Give cloud-init a seed.")  # fmt: skip
@click.option("--unattended", is_flag=False, flag_value="", default=None,
              metavar="profile=,admin-password-file=,...",
              help="Answer all that Debian's installer asks.")  # fmt: skip
@click.option("--initrd-inject", multiple=True, metavar="FILE",
              help="A file for the installer's initial file system.")  # fmt: skip
@_option("--memballoon", metavar="virtio|none", help="Whether it has a balloon.")
@_option("--connect", hidden=True)
@click.option("-v", "--hvm", is_flag=True, hidden=True)
@click.option("--noautoconsole", is_flag=True, help="Do not attach to its console.")
@_option("--autoconsole", metavar="text|none", help="How to attach to its console.")
@click.option("--wait", is_flag=False, flag_value=-1, default=None, type=int, metavar="MINUTES",
              help="Wait for the end of the installation.")  # fmt: skip
@click.option("--noreboot", is_flag=True, help="Do not start it again after the installation.")
@click.option("--autostart", is_flag=True, help="Have it start with the host.")
@click.option("--transient", is_flag=True, help="Do not keep its definition.")
@click.option("--print-xml", is_flag=True, help="Print the definition, and do nothing.")
@click.option("--dry-run", is_flag=True, help="Do nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(**given: Any) -> int:
    """Make a machine, its storage too, and start it: from an installer's media (--cdrom,
    --location), from a disk that is there (--import), or a kernel (--boot kernel=).

    New images lie in 'bimetal/images' in $XDG_DATA_HOME, and take room as they are written.
    """
    if given["osinfo"] == LIST:
        click.echo("\n".join(system_names()))
        return 0
    planned = _plan(given)
    tell = _silent if given["quiet"] else click.echo
    for note in (*planned.notes, *planned.definition.notes):
        click.echo(f"bimetal: no effect: {note}", err=True)
    machines = Machines()
    if given["print_xml"]:
        folder = folder_of(machines, planned.definition.name)
        shown = planned.definition if planned.location else first_start(planned, folder)
        click.echo(write_definition(shown), nl=False)
        return 0
    if given["dry_run"]:
        tell("Dry run completed successfully")
        return 0
    tell("\nStarting install..." if planned.installs else "\nCreating domain...")
    known = carry_out(machines, planned, transient=given["transient"])
    if given["autostart"]:
        _autostart(known)
    if planned.password:
        click.echo(f"Password for first root login is: {planned.password}", err=True)
    return _follow(machines, known, planned, given, tell)


def _plan(given: dict[str, Any]) -> Plan:
    if not given["name"]:
        raise click.UsageError("--name is required")
    methods = [given["cdrom"], given["location"], given["is_import"], "kernel" in given["boot"]]
    if not any(methods) and not given["boot"]:
        raise BimetalError(
            "An install method must be specified",
            "--cdrom FILE, --location FOLDER, --import, or --boot kernel=FILE",
            ExitCode.USAGE,
        )
    title = given["metadata"].partition("title=")[2]
    wanted = Wanted(
        name=given["name"],
        memory=given["memory"],
        cpus=given["vcpus"],
        cpu=given["cpu"],
        arch=given["arch"],
        machine=given["machine"],
        accel=VIRT_TYPES[given["virt_type"]],
        uuid=given["uuid"],
        title=title,
        disks=given["disk"],
        cdrom=os.path.abspath(given["cdrom"]) if given["cdrom"] else "",
        location=given["location"],
        is_import=given["is_import"],
        boot=given["boot"],
        extra=given["extra_args"],
        networks=given["network"],
        graphics=given["graphics"],
        video=given["video"],
        inputs=given["inputs"],
        controllers=given["controllers"],
        serial=given["serial"] or given["console"],
        system=given["osinfo"],
        cloud_init=given["cloud_init"],
        unattended=given["unattended"],
        injected=given["initrd_inject"],
        balloon=given["memballoon"] not in ("none", "model=none"),
    )
    folder = Machines().places.images
    return plan(wanted, folder, lambda isa: firmware_of_catalogue(isa, fetch=not given["dry_run"]))


def _autostart(known: Known) -> None:
    HOST.call("autostart", Machines(), {"domain": known.name})


def _silent(text: str) -> None:
    """Print nothing."""


def _follow(
    machines: Machines, known: Known, planned: Plan, given: dict[str, Any], tell: Callable[..., Any]
) -> int:
    """Attach to the console, or wait, as far as it is wanted; and start the machine again once its
    installation is over."""
    attach = not given["noautoconsole"] and given["autoconsole"] != "none" and os.isatty(0)
    if attach and machines.console_of(known.name).startswith("/"):
        click.echo(
            f"Connected to domain {known.name!r}\nEscape character is ^] (Ctrl + ])", err=True
        )
        machines.talk(known.name)
    elif given["wait"] is None:
        tell(f"Domain is running: {known.name!r}. Its console: bimetal console {known.name}")
    minutes = given["wait"]
    if minutes is not None:
        machines.await_end(known.name, FOR_EVER if minutes < 0 else minutes * 60.0)
    still = [each for each in machines if each.name == known.name and each.runs]
    if still:
        if minutes is not None:
            tell("Installation has exceeded specified time limit. Exiting application.")
            return ExitCode.FAILURE
        if planned.installs:
            tell("Domain is still running. Installation may be in progress.")
        return 0
    if planned.installs:
        forget_first_start(machines, known.name)
    if planned.installs and not given["transient"] and not given["noreboot"]:
        machines.start(known.name)
        tell("Restarting guest.")
    tell("Domain creation completed.")
    return 0
