"""The verb that tells where the screen of a machine is seen."""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["vncdisplay"]


@HOST.command("vncdisplay", safe=True)
def vncdisplay(machines: Machines, domain: Domain) -> str:
    """Tell where viewers connect to the screen of a machine that runs, by VNC."""
    known = machines.running(domain)
    display = str(machines.state_of(known.name).get("vnc", ""))
    if not display:
        raise BimetalError(
            f"Failed to get VNC port. Is domain {known.name!r} using VNC?",
            "define it with <graphics type='vnc' port='-1'/>",
            ExitCode.UNAVAILABLE,
        )
    return display
