"""The verb that lists machines: the one that has to be quick."""

from __future__ import annotations

from typing import Annotated

from bimetal.base.late import late
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST

__all__ = ["list_"]


@HOST.command("list", safe=True)
def list_(
    machines: Machines,
    all: Annotated[bool, "those that do not run too"] = False,
    inactive: Annotated[bool, "only those that do not run"] = False,
    state_running: Annotated[bool, "only those that execute"] = False,
    state_paused: Annotated[bool, "only those that are stopped"] = False,
    state_shutoff: Annotated[bool, "only those that are off"] = False,
    state_other: Annotated[bool, "only those of which it is not known yet"] = False,
    persistent: Annotated[bool, "only those that are defined"] = False,
    transient: Annotated[bool, "only those that are not defined"] = False,
    autostart: Annotated[bool, "only those that start by themselves"] = False,
    no_autostart: Annotated[bool, "only those that do not"] = False,
    with_managed_save: Annotated[bool, "only those whose state was saved for the next start"] = (
        False
    ),
    without_managed_save: Annotated[bool, "only those whose state was not"] = False,
) -> list[Known]:
    """List the machines that run, or all of them."""
    wanted = {
        "running": state_running,
        "paused": state_paused,
        "shut off": state_shutoff,
        "no state": state_other,
    }
    states = {state for state, asked in wanted.items() if asked}
    found = [
        each
        for each in machines
        if (all or each.runs != inactive or "shut off" in states)
        and (not states or each.state in states)
        and (not persistent or each.persistent)
        and (not transient or not each.persistent)
        and (not with_managed_save or each.saved)
        and (not without_managed_save or not each.saved)
    ]
    if autostart or no_autostart:
        units = late("bimetal.control.autostart:Units")()
        found = [each for each in found if units.starts(each.name) == autostart]
    return found
