"""Verbs that say how machines begin and end by themselves: states saved for the next start, and
starts with the host."""

from __future__ import annotations

from typing import Annotated

from bimetal.base.late import late
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["autostart", "managedsave", "managedsave_remove"]


@HOST.command("managedsave")
def managedsave(machines: Machines, domain: Domain) -> Known:
    """Save the state of a machine and end it; its next start goes on with that."""
    known = machines.running(domain)
    return machines.save(known.name, str(machines.places.saved(known.name)))


@HOST.command("managedsave-remove")
def managedsave_remove(machines: Machines, domain: Domain) -> Known:
    """Forget the state that a machine would go on with at its next start."""
    known = machines.find(domain)
    machines.places.saved(known.name).unlink(missing_ok=True)
    return known


@HOST.command("autostart")
def autostart(
    machines: Machines,
    domain: Domain,
    disable: Annotated[bool, "have it start by itself no more"] = False,
) -> Known:
    """Have a machine start with the host, or at its user's login, by a unit of systemd."""
    known = machines.defined(domain)
    units = late("bimetal.control.autostart:Units")()
    if disable:
        units.disable(known.name)
    else:
        units.enable(known.name)
    return known
