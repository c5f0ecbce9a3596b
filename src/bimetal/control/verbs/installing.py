"""The verb that makes a new machine and its storage, for those who have no command line of
virt-install's (`bimetal.control.installing`)."""

from __future__ import annotations

import os
from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST

__all__ = ["install"]


@HOST.command("install")
def install(
    machines: Machines,
    name: Annotated[str, "what to call it"],
    cdrom: Annotated[str, "the path of the media to install from"] = "",
    location: Annotated[str, "an installer's tree: a folder, an image or a URL"] = "",
    import_: Annotated[bool, "start what is on the first disk"] = False,
    boot: Annotated[str, "what to start: kernel=,initrd=,cmdline=,uefi,loader="] = "",
    disk: Annotated[tuple[str, ...], "disks: size=GIB, or a path"] = (),
    memory: Annotated[int, "MiB of memory; 0 for as much as the system is said to need"] = 0,
    vcpus: Annotated[int, "how many CPUs it has"] = 1,
    arch: Annotated[str, "its instruction set; otherwise that which the media start"] = "",
    network: Annotated[tuple[str, ...], "NICs: user, bridge=NAME, none"] = (),
    graphics: Annotated[str, "a screen: vnc, none"] = "",
    osinfo: Annotated[str, "the system, as osinfo calls it"] = "",
    extra_args: Annotated[str, "more words for the installer's kernel"] = "",
    unattended: Annotated[
        str, "answers for Debian's installer: profile=,admin-password-file="
    ] = "",
) -> Known:
    """Make a machine in virt-install's words, its storage too, and start it. The definition that is
    kept starts what was installed."""
    if not (cdrom or location or import_ or boot):
        raise BimetalError(
            "An install method must be specified", "cdrom, location, import or boot", ExitCode.USAGE
        )
    planning = "bimetal.control.installing.planning"
    wanted = late(f"{planning}:Wanted")(
        name=name,
        memory=str(memory) if memory else "",
        cpus=str(vcpus),
        arch=arch,
        disks=disk,
        cdrom=os.path.abspath(cdrom) if cdrom else "",
        location=location,
        is_import=import_,
        boot=boot,
        extra=extra_args,
        networks=network,
        graphics=graphics,
        system=osinfo,
        unattended=unattended or None,
    )
    fetched = late("bimetal.control.installing.firmware:firmware_of_catalogue")
    planned = late(f"{planning}:plan")(wanted, machines.places.images, fetched)
    known: Known = late("bimetal.control.installing.carrying_out:carry_out")(machines, planned)
    return known
