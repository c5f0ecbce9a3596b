"""Verbs that tell of the host, and of what machines may be here."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST

__all__ = ["BoardLine", "Node", "boards", "capabilities", "domcapabilities", "hostname"]
__all__ += ["nodeinfo", "uri"]


@dataclass(frozen=True)
class Node:
    """The host: its kind of processor, how many there are, their frequency in MHz, sockets, cores
    of each, threads of each, and its memory in KiB."""

    model: str
    cpus: int
    frequency: int
    sockets: int
    cores: int
    threads: int
    memory: int


@dataclass(frozen=True)
class BoardLine:
    """A board: its name, instruction set, what it is, and how many CPUs it may have."""

    name: str
    isa: str
    summary: str
    cpus: int


@HOST.command("boards", safe=True)
def boards(machines: Machines) -> list[BoardLine]:
    """List the boards that a machine may be defined with."""
    return [
        BoardLine(each.name, each.isa, each.summary, each.max_cpus)
        for each in late("bimetal.control.known_boards:boards")()
    ]


@HOST.command("nodeinfo", safe=True)
def nodeinfo(machines: Machines) -> Node:
    """Tell of this host: its processors and its memory."""
    cpus = os.cpu_count() or 1
    places = Path("/sys/devices/system/cpu")
    topology = [places / f"cpu{number}" / "topology" for number in range(cpus)]
    sockets = {_read(each / "physical_package_id") for each in topology} - {""}
    cores = {(_read(each / "physical_package_id"), _read(each / "core_id")) for each in topology}
    known = len(sockets) or 1
    each = max(1, len(cores - {("", "")}) // known)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 10
    threads = max(1, cpus // (known * each))
    return Node(platform.machine(), cpus, _frequency(), known, each, threads, memory)


@HOST.command("hostname", safe=True)
def hostname(machines: Machines) -> str:
    """Tell what this host is called."""
    return platform.node()


@HOST.command("uri", safe=True)
def uri(machines: Machines) -> str:
    """Tell where the machines are: here, and this user's."""
    return "bimetal:///"


@HOST.command("capabilities", safe=True)
def capabilities(machines: Machines) -> str:
    """Tell which machines can be defined here, as libvirt's XML."""
    return str(late("bimetal.control.domain_xml.capabilities:capabilities")())


@HOST.command("domcapabilities", safe=True)
def domcapabilities(
    machines: Machines,
    arch: Annotated[str, "the architecture; otherwise the first one"] = "",
    machine: Annotated[str, "the kind of machine"] = "",
    virttype: Annotated[str, "kvm or qemu"] = "qemu",
) -> str:
    """Tell which devices machines of a kind can have, as libvirt's XML."""
    if virttype not in ("kvm", "qemu"):
        raise BimetalError(f"unknown virttype {virttype[:40]!r}", "kvm or qemu", ExitCode.USAGE)
    tell = late("bimetal.control.domain_xml.capabilities:domain_capabilities")
    return str(tell(arch, machine, virttype))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _frequency() -> int:
    """MHz of the first processor, 0 if nobody tells."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            return int(float(value))
    return 0
