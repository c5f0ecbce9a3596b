"""Verbs that change what a machine is defined as."""

from __future__ import annotations

from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["domrename", "setvcpus"]


@HOST.command("domrename")
def domrename(
    machines: Machines, domain: Domain, new_name: Annotated[str, "what to call it from now on"]
) -> Known:
    """Call a machine otherwise that does not run."""
    return machines.rename(domain, new_name)


@HOST.command("setvcpus")
def setvcpus(
    machines: Machines,
    domain: Domain,
    count: Annotated[str, "how many CPUs"],
    config: Annotated[bool, "for its next start, if it runs"] = False,
    maximum: Annotated[bool, "the number that it may have at most"] = False,
    current: Annotated[bool, "accepted: what it is now, which is off"] = False,
) -> None:
    """Give a machine another number of CPUs, from its next start on."""
    known = machines.find(domain)
    if known.runs and not config:
        raise BimetalError(
            "CPUs are neither plugged into machines that run nor taken out of them",
            "give it more for its next start: --config",
            ExitCode.USAGE,
        )
    if not (count.isascii() and count.isdecimal() and int(count[:9]) > 0):
        raise BimetalError(
            f"Numeric value '{count[:40]}' for <count> option is malformed or out of range",
            "",
            ExitCode.USAGE,
        )
    with_cpus = late("bimetal.control.domain_xml.altering:with_cpus")
    machines.change(known.name, lambda text: with_cpus(text, int(count[:9]), maximum=maximum))
